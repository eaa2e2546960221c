package headrace.flink;

import java.nio.ByteBuffer;
import java.util.Arrays;
import org.apache.flink.api.common.functions.FlatMapFunction;
import org.apache.flink.api.common.typeinfo.TypeHint;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.java.typeutils.ResultTypeQueryable;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.record.MemoryRecords;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.record.Record;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.utils.Utils;
import org.apache.flink.types.Row;
import org.apache.flink.util.Collector;

/**
 * Takes apart what the operators wrote: rows of topic, partition and a record batch (Kafka's message format v2)
 * in, the batch's records out. Of partition -1 the producer chooses by the key's hash. Offsets and times in the
 * batch say nothing: the producer gives them.
 */
public final class Scatter
        implements FlatMapFunction<Row, ProducerRecord<byte[], byte[]>>,
                ResultTypeQueryable<ProducerRecord<byte[], byte[]>> {
    private static final long serialVersionUID = 1;

    @Override
    public void flatMap(Row written, Collector<ProducerRecord<byte[], byte[]>> out) {
        String topic = (String) written.getField(0);
        int partition = (Integer) written.getField(1);
        Integer told = partition < 0 ? null : partition;
        ByteBuffer batches = ByteBuffer.wrap((byte[]) written.getField(2));
        for (Record record : MemoryRecords.readableRecords(batches).records()) {
            byte[] key = Utils.toNullableArray(record.key());
            byte[] value = Utils.toNullableArray(record.value());
            out.collect(new ProducerRecord<>(topic, told, key, value, Arrays.asList(record.headers())));
        }
    }

    @Override
    public TypeInformation<ProducerRecord<byte[], byte[]>> getProducedType() {
        return TypeInformation.of(new TypeHint<ProducerRecord<byte[], byte[]>>() {});
    }
}
