package headrace.flink;

import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.producer.ProducerRecord;

/** Hands the producer a record as {@link Scatter} made it. */
public final class Outgoing implements KafkaRecordSerializationSchema<ProducerRecord<byte[], byte[]>> {
    private static final long serialVersionUID = 1;

    @Override
    public ProducerRecord<byte[], byte[]> serialize(
            ProducerRecord<byte[], byte[]> record, KafkaSinkContext context, Long timestamp) {
        return record;
    }
}
