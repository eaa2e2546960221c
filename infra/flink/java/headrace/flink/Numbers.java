package headrace.flink;

import org.apache.flink.connector.datagen.source.GeneratorFunction;
import org.apache.flink.types.Row;

/** Makes the probe's input: each number as a row of itself, after the key that it is counted under. */
public final class Numbers implements GeneratorFunction<Long, Row> {
    private static final long serialVersionUID = 1;
    private static final long KEYS = 64;

    @Override
    public Row map(Long number) {
        return Row.of((int) (number % KEYS), Row.of(number));
    }
}
