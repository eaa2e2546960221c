package headrace.flink;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.connector.file.src.FileSourceSplit;
import org.apache.flink.connector.file.src.reader.BulkFormat;
import org.apache.flink.connector.file.src.util.CheckpointedPosition;
import org.apache.flink.connector.file.src.util.RecordAndPosition;
import org.apache.flink.core.fs.FileStatus;
import org.apache.flink.core.fs.Path;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.header.Header;

/**
 * Reads files with {@link Lines} and prints a record a line: topic, number, time, header, and the value in
 * base64. Goes on from some twenty of the positions too, which must give the same rest. Damage is told
 * by its message.
 */
public final class ReadLines {
    private ReadLines() {}

    public static void main(String[] args) throws Exception {
        Lines lines = new Lines(Integer.parseInt(args[0]));
        for (int at = 1; at < args.length; at++) {
            Path path = new Path(args[at]);
            FileStatus status = path.getFileSystem().getFileStatus(path);
            FileSourceSplit split = new FileSourceSplit(
                    "1", status.getPath(), 0, status.getLen(), status.getModificationTime(), status.getLen());
            try {
                compare(lines, split);
            } catch (RuntimeException error) {
                System.out.println(error.getCause().getMessage());
            }
        }
    }

    private static void compare(Lines lines, FileSourceSplit split) throws Exception {
        List<CheckpointedPosition> places = new ArrayList<>();
        List<String> all = read(lines.createReader(new Configuration(), split), places);
        all.forEach(System.out::println);
        for (int done = 1; done <= all.size(); done += 1 + all.size() / 20) {
            FileSourceSplit left = split.updateWithCheckpointedPosition(places.get(done - 1));
            List<String> rest = read(lines.restoreReader(new Configuration(), left), new ArrayList<>());
            if (!rest.equals(all.subList(done, all.size()))) {
                throw new AssertionError(split + " goes on otherwise behind " + all.get(done - 1));
            }
        }
    }

    private static List<String> read(Lines.Reader reader, List<CheckpointedPosition> places) throws Exception {
        List<String> read = new ArrayList<>();
        BulkFormat.RecordIterator<ConsumerRecord<byte[], byte[]>> batch;
        while ((batch = reader.readBatch()) != null) {
            RecordAndPosition<ConsumerRecord<byte[], byte[]>> next;
            while ((next = batch.next()) != null) {
                read.add(told(next.getRecord()));
                places.add(new CheckpointedPosition(next.getOffset(), next.getRecordSkipCount()));
            }
            batch.releaseBatch();
        }
        reader.close();
        return read;
    }

    private static String told(ConsumerRecord<byte[], byte[]> record) {
        StringBuilder headers = new StringBuilder();
        for (Header header : record.headers()) {
            headers.append(header.key()).append('=').append(new String(header.value(), StandardCharsets.US_ASCII));
        }
        String value = Base64.getEncoder().encodeToString(record.value());
        return String.join(
                "\t", record.topic(), record.offset() + "", record.timestamp() + "", headers.toString(), value);
    }
}
