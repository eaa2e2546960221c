package headrace.flink;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.kafka.shaded.org.apache.kafka.common.TopicPartition;

/** Places in topics: from Python, whose numbers reach Java as int, no map of long can be made. */
public final class Offsets {
    private Offsets() {}

    /** Returns the places with these offsets, in partitions that are numbered alike in all topics. */
    public static OffsetsInitializer of(List<String> topics, int[] partitions, long[] offsets) {
        Map<TopicPartition, Long> places = new HashMap<>();
        for (String topic : topics) {
            for (int at = 0; at < partitions.length; at++) {
                places.put(new TopicPartition(topic, partitions[at]), offsets[at]);
            }
        }
        return OffsetsInitializer.offsets(places);
    }
}
