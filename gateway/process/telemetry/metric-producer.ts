import { type HrTime, ValueType } from "@opentelemetry/api";
import { emptyResource } from "@opentelemetry/resources";
import {
  AggregationTemporality,
  type DataPoint,
  DataPointType,
  type MetricData,
  type MetricProducer,
} from "@opentelemetry/sdk-metrics";
import { type Histogram, LATENCY_BOUNDS, type MetricFamily, type Series } from "../../dataplane/index.ts";

type HistogramValue = Extract<
  MetricData,
  { dataPointType: DataPointType.HISTOGRAM }
>["dataPoints"][number]["value"];

/** The counters of the data path as OpenTelemetry wants them: the same names and labels as in `/metrics`, cumulative. */
export function createMetricProducer(
  families: () => readonly MetricFamily[],
  scope: { readonly name: string; readonly version: string },
  now: () => number,
): MetricProducer {
  const startTime = hrTime(now());
  return {
    async collect() {
      const endTime = hrTime(now());
      const point = <V, T>({ labels, value }: Series<V>, of: (value: V) => T): DataPoint<T> => ({
        startTime,
        endTime,
        attributes: labels,
        value: of(value),
      });
      const metrics = families().map((family): MetricData => {
        const common = {
          descriptor: {
            name: family.name,
            description: family.help,
            unit: family.type === "histogram" ? "s" : "",
            valueType: family.type === "histogram" ? ValueType.DOUBLE : ValueType.INT,
          },
          aggregationTemporality: AggregationTemporality.CUMULATIVE,
        };
        if (family.type === "histogram") {
          const dataPoints = [...family.all()].map((series) => point(series, histogramValue));
          return { ...common, dataPointType: DataPointType.HISTOGRAM, dataPoints };
        }
        const dataPoints = [...family.all()].map((series) => point(series, ({ value }) => value));
        return family.type === "gauge"
          ? { ...common, dataPointType: DataPointType.GAUGE, dataPoints }
          : { ...common, dataPointType: DataPointType.SUM, dataPoints, isMonotonic: true };
      });
      const scopeMetrics = [{ scope, metrics: metrics.filter(({ dataPoints }) => dataPoints.length > 0) }];
      return { resourceMetrics: { resource: emptyResource(), scopeMetrics }, errors: [] };
    },
  };
}

function histogramValue({ counts, sum, count }: Histogram): HistogramValue {
  return { buckets: { boundaries: [...LATENCY_BOUNDS], counts: [...counts] }, sum, count };
}

function hrTime(ms: number): HrTime {
  return [Math.floor(ms / 1000), Math.round((ms % 1000) * 1e6)];
}
