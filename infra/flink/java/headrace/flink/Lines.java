package headrace.flink;

import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.zip.ZipException;
import org.apache.flink.api.common.io.compression.InflaterInputStreamFactory;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.file.src.FileSource;
import org.apache.flink.connector.file.src.FileSourceSplit;
import org.apache.flink.connector.file.src.assigners.SimpleSplitAssigner;
import org.apache.flink.connector.file.src.compression.StandardDeCompressors;
import org.apache.flink.connector.file.src.enumerate.NonSplittingRecursiveEnumerator;
import org.apache.flink.connector.file.src.reader.BulkFormat;
import org.apache.flink.connector.file.src.util.CheckpointedPosition;
import org.apache.flink.connector.file.src.util.RecordAndPosition;
import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.core.fs.Path;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.record.TimestampType;
import org.apache.flink.runtime.execution.SuppressRestartsException;
import org.apache.flink.util.IOUtils;

/**
 * The lines of files as records, in the shape that {@link Gather} takes: the file's URI is the topic, the line's
 * number (from 1) the offset, the file's modification the time stamp. A file is read by one task from its
 * beginning; a checkpoint holds the byte and the line that come next.
 */
public final class Lines implements BulkFormat<ConsumerRecord<byte[], byte[]>, FileSourceSplit> {
    private static final long serialVersionUID = 1;

    /** The header of a line that is too long to be held: how many bytes it has. */
    private static final String CUT_FROM = "headrace-cut-from";

    /** Of a line, what is held at most. */
    private final int keptBytes;

    Lines(int keptBytes) {
        this.keptBytes = keptBytes;
    }

    /**
     * Returns the bounded source of files and of what lies in folders, save what is hidden there (`.` or `_`
     * first). Tasks take files in the order of their paths, so that one task reads them all in that order.
     */
    public static FileSource<ConsumerRecord<byte[], byte[]>> source(List<String> named, int keptBytes) {
        Path[] paths = named.stream().map(Path::new).toArray(Path[]::new);
        HashSet<String> told = new HashSet<>();
        for (Path path : paths) {
            told.add(path.toUri().getPath());
        }
        return FileSource.forBulkFileFormat(new Lines(keptBytes), paths)
                .setFileEnumerator(() -> new NonSplittingRecursiveEnumerator(path -> isRead(path, told)))
                .setSplitAssigner(Lines::inOrder)
                .build();
    }

    private static boolean isRead(Path path, Set<String> told) {
        char first = path.getName().isEmpty() ? '/' : path.getName().charAt(0);
        return first != '.' && first != '_' || told.contains(path.toUri().getPath());
    }

    private static SimpleSplitAssigner inOrder(Collection<FileSourceSplit> splits) {
        List<FileSourceSplit> sorted = new ArrayList<>(splits);
        sorted.sort(Comparator.comparing((FileSourceSplit split) -> split.path().toString()).reversed());
        return new SimpleSplitAssigner(sorted); // which takes the last one first
    }

    @Override
    public Reader createReader(Configuration config, FileSourceSplit split) throws IOException {
        return new Reader(split, 0, 0, keptBytes);
    }

    @Override
    public Reader restoreReader(Configuration config, FileSourceSplit split) throws IOException {
        CheckpointedPosition position = split.getReaderPosition().orElseThrow();
        return new Reader(split, position.getOffset(), position.getRecordsAfterOffset(), keptBytes);
    }

    @Override
    public boolean isSplittable() {
        return false;
    }

    @Override
    public TypeInformation<ConsumerRecord<byte[], byte[]>> getProducedType() {
        return new Incoming().getProducedType();
    }

    /** Returns a file's URI, whose characters need no escape in JSON. */
    private static String uriOf(Path path) {
        String uri = path.toUri().toASCIIString();
        boolean bare = uri.startsWith("file:/") && !uri.startsWith("file://"); // as Flink writes it
        return bare ? "file://" + uri.substring("file:".length()) : uri;
    }

    /** Reads one file in batches of about a megabyte. */
    static final class Reader implements BulkFormat.Reader<ConsumerRecord<byte[], byte[]>> {
        private static final int BATCH_BYTES = 1024 * 1024;
        private static final int LINE_BYTES = 100; // what an empty one takes beside its value

        private final String topic;
        private final long modifiedMs;
        private final LineReader lines;

        Reader(FileSourceSplit split, long bytes, long numbered, int keptBytes) throws IOException {
            topic = uriOf(split.path());
            modifiedMs = split.fileModificationTime();
            try {
                lines = new LineReader(opened(split.path(), bytes), bytes, numbered, keptBytes);
            } catch (ZipException | EOFException error) {
                throw damaged(numbered, error);
            }
        }

        @Override
        public RecordIterator<ConsumerRecord<byte[], byte[]>> readBatch() throws IOException {
            List<RecordAndPosition<ConsumerRecord<byte[], byte[]>>> read = new ArrayList<>();
            try {
                for (int held = 0; held < BATCH_BYTES && lines.next(); held += LINE_BYTES) {
                    byte[] value = lines.value();
                    held += value.length;
                    if (!isBlank(value)) {
                        read.add(new RecordAndPosition<>(record(value), lines.bytes(), lines.number()));
                    }
                }
            } catch (ZipException | EOFException error) {
                throw damaged(lines.number(), error);
            }
            return read.isEmpty() ? null : new Batch(read.iterator());
        }

        @Override
        public void close() throws IOException {
            lines.close();
        }

        private ConsumerRecord<byte[], byte[]> record(byte[] value) {
            RecordHeaders headers = new RecordHeaders();
            if (lines.isCut()) {
                headers.add(CUT_FROM, Long.toString(lines.length()).getBytes(StandardCharsets.US_ASCII));
            }
            return new ConsumerRecord<>(
                    topic,
                    0,
                    lines.number(),
                    modifiedMs,
                    TimestampType.CREATE_TIME,
                    ConsumerRecord.NULL_SIZE,
                    value.length,
                    null,
                    value,
                    headers,
                    Optional.empty());
        }

        /** Returns what ends the job: a file that is damaged is so when it is read again, too. */
        private SuppressRestartsException damaged(long line, IOException error) {
            String told = topic + " is damaged behind line " + line + ": " + error.getMessage();
            return new SuppressRestartsException(new IOException(told)); // people are shown the innermost cause
        }

        private static boolean isBlank(byte[] value) {
            for (byte each : value) {
                if (each != ' ' && each != '\t' && each != '\r') {
                    return false;
                }
            }
            return true;
        }

        private static InputStream opened(Path path, long bytes) throws IOException {
            FSDataInputStream in = path.getFileSystem().open(path);
            try {
                InflaterInputStreamFactory<?> inflater =
                        StandardDeCompressors.getDecompressorForFileName(path.getName());
                if (inflater == null) {
                    in.seek(bytes);
                    return in;
                }
                InputStream inflated = inflater.create(in);
                IOUtils.skipFully(inflated, bytes);
                return inflated;
            } catch (IOException | RuntimeException error) {
                in.close();
                throw error;
            }
        }
    }

    /** What was read at once, each line with the place behind it. */
    private static final class Batch implements BulkFormat.RecordIterator<ConsumerRecord<byte[], byte[]>> {
        private final Iterator<RecordAndPosition<ConsumerRecord<byte[], byte[]>>> read;

        Batch(Iterator<RecordAndPosition<ConsumerRecord<byte[], byte[]>>> read) {
            this.read = read;
        }

        @Override
        public RecordAndPosition<ConsumerRecord<byte[], byte[]>> next() {
            return read.hasNext() ? read.next() : null;
        }

        @Override
        public void releaseBatch() {
            // nothing of it is used again
        }
    }
}
