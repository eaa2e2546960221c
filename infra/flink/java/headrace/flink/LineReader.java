package headrace.flink;

import java.io.ByteArrayOutputStream;
import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;

/**
 * Reads lines as bytes, whatever they are: each ends with `\n` or `\r\n`, which is no part of it, the last one
 * perhaps with nothing. Holds at most so many bytes of a line, however long it is.
 */
final class LineReader implements Closeable {
    private static final int BUFFER_BYTES = 64 * 1024;

    private final InputStream in;
    private final int keptBytes;
    private final byte[] buffer = new byte[BUFFER_BYTES];
    private final ByteArrayOutputStream kept = new ByteArrayOutputStream();
    private int at;
    private int end;
    private long bytes;
    private long number;
    private long length;

    /** `bytes` and `number` say how much of the file and how many of its lines lie before `in`. */
    LineReader(InputStream in, long bytes, long number, int keptBytes) {
        this.in = in;
        this.bytes = bytes;
        this.number = number;
        this.keptBytes = keptBytes;
    }

    /** Goes to the next line; false at the end. */
    boolean next() throws IOException {
        kept.reset();
        length = 0;
        if (at == end && !fill()) {
            return false;
        }
        number++;
        do {
            int stop = at;
            while (stop < end && buffer[stop] != '\n') {
                stop++;
            }
            kept.write(buffer, at, Math.min(stop - at, keptBytes - kept.size()));
            length += stop - at;
            bytes += stop - at;
            at = stop;
            if (at < end) { // the line's end
                at++;
                bytes++;
                return true;
            }
        } while (fill());
        return true;
    }

    /** Returns the line, or its beginning. */
    byte[] value() {
        byte[] value = kept.toByteArray();
        boolean returned = !isCut() && value.length > 0 && value[value.length - 1] == '\r';
        return returned ? Arrays.copyOf(value, value.length - 1) : value;
    }

    /** Returns how many bytes the line has, without its `\n`. */
    long length() {
        return length;
    }

    boolean isCut() {
        return length > keptBytes;
    }

    /** Returns the line's number, the first being 1. */
    long number() {
        return number;
    }

    /** Returns how many bytes of the file lie before the next line. */
    long bytes() {
        return bytes;
    }

    @Override
    public void close() throws IOException {
        in.close();
    }

    private boolean fill() throws IOException {
        at = 0;
        end = Math.max(0, in.read(buffer));
        return end > 0;
    }
}
