package headrace.flink;

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import org.apache.flink.api.common.operators.ProcessingTimeService.ProcessingTimeCallback;
import org.apache.flink.kafka.shaded.org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.compress.Compression;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.record.MemoryRecords;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.record.MemoryRecordsBuilder;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.record.RecordBatch;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.record.TimestampType;
import org.apache.flink.streaming.api.operators.AbstractStreamOperator;
import org.apache.flink.streaming.api.operators.BoundedOneInput;
import org.apache.flink.streaming.api.operators.OneInputStreamOperator;
import org.apache.flink.streaming.api.watermark.Watermark;
import org.apache.flink.streaming.runtime.streamrecord.StreamRecord;
import org.apache.flink.types.Row;

/**
 * Gathers the records of each partition into record batches (Kafka's message format v2), as a crossing to Python
 * costs more than what is done there with an event. Out come rows of the lane's key, and in a row topic,
 * partition and batch. A batch goes on when it is large, 50 ms after its first record, before every checkpoint,
 * so that nothing of it is state, and before a watermark, so that the end of the input comes behind all of it.
 */
public final class Gather extends AbstractStreamOperator<Row>
        implements OneInputStreamOperator<ConsumerRecord<byte[], byte[]>, Row>,
                BoundedOneInput,
                ProcessingTimeCallback {
    private static final long serialVersionUID = 1;
    private static final int FIRST_BYTES = 64 * 1024;
    private static final int FULL_BYTES = 1024 * 1024;
    private static final long LINGER_MS = 50;

    /** How many partitions have their buffers kept while they are empty. */
    private static final int KEPT = 64;

    /** By partition; empty where lanes are keyed later. */
    private final int[] keys;

    private transient Map<TopicPartition, Batch> batches;
    private transient boolean waiting;

    public Gather(int[] keys) {
        this.keys = keys;
    }

    @Override
    public void open() throws Exception {
        super.open();
        batches = new LinkedHashMap<>();
        waiting = false;
    }

    @Override
    public void processElement(StreamRecord<ConsumerRecord<byte[], byte[]>> element) {
        ConsumerRecord<byte[], byte[]> record = element.getValue();
        TopicPartition place = new TopicPartition(record.topic(), record.partition());
        if (batches.size() >= KEPT && !batches.containsKey(place)) {
            batches.values().removeIf(Batch::isEmpty); // of files there may be any number
        }
        Batch batch = batches.computeIfAbsent(place, Batch::new);
        if (batch.endsBefore(record.offset())) {
            emit(batch);
        }
        batch.add(record);
        if (batch.size() >= FULL_BYTES && keys.length == 0) {
            emitAll(); // of one file after the other the first goes first, though the second's batch is full
        } else if (batch.size() >= FULL_BYTES) {
            emit(batch);
        } else if (!waiting) {
            waiting = true;
            long now = getProcessingTimeService().getCurrentProcessingTime();
            getProcessingTimeService().registerTimer(now + LINGER_MS, this);
        }
    }

    @Override
    public void onProcessingTime(long time) {
        waiting = false;
        emitAll();
    }

    @Override
    public void prepareSnapshotPreBarrier(long checkpointId) {
        emitAll();
    }

    @Override
    public void processWatermark(Watermark mark) throws Exception {
        emitAll();
        super.processWatermark(mark);
    }

    @Override
    public void endInput() {
        emitAll();
    }

    private void emitAll() {
        batches.values().forEach(this::emit);
    }

    private void emit(Batch batch) {
        if (!batch.isEmpty()) {
            TopicPartition place = batch.place;
            int key = keys.length == 0 ? 0 : keys[place.partition()];
            Row taken = Row.of(place.topic(), place.partition(), batch.take());
            output.collect(new StreamRecord<>(Row.of(key, taken)));
        }
    }

    /** The records of one partition that wait; its buffer stays as large as it once had to be. */
    private static final class Batch {
        private final TopicPartition place;
        private ByteBuffer buffer = ByteBuffer.allocate(FIRST_BYTES);
        private MemoryRecordsBuilder open;
        private long first;

        Batch(TopicPartition place) {
            this.place = place;
        }

        boolean isEmpty() {
            return open == null;
        }

        /** Tells whether an offset is too far from the first one for the same batch. */
        boolean endsBefore(long offset) {
            return open != null && offset - first > Integer.MAX_VALUE;
        }

        int size() {
            return open == null ? 0 : open.estimatedSizeInBytes();
        }

        void add(ConsumerRecord<byte[], byte[]> record) {
            if (open == null) {
                first = record.offset();
                buffer.clear();
                open = MemoryRecords.builder(buffer, Compression.NONE, TimestampType.CREATE_TIME, first);
            }
            open.appendWithOffset(
                    record.offset(),
                    Math.max(record.timestamp(), RecordBatch.NO_TIMESTAMP), // producers may send any
                    record.key(),
                    record.value(),
                    record.headers().toArray());
        }

        byte[] take() {
            ByteBuffer built = open.build().buffer();
            buffer = open.buffer();
            open = null;
            int start = built.arrayOffset() + built.position();
            return Arrays.copyOfRange(built.array(), start, start + built.remaining());
        }
    }
}
