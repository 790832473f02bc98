// The server's own metrics, for GET /metrics: Prometheus text, by prometheus-cpp.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
}  // namespace prometheus

namespace tidemill::metrics {

using Labels = std::map<std::string, std::string>;

// Each is a light handle on a metric that lives as long as the process; copy it freely, use it from any thread (some
// nanoseconds).
class Counter {
 public:
  explicit Counter(prometheus::Counter& counter) : counter_(&counter) {}
  void add(double by = 1) const;

 private:
  prometheus::Counter* counter_;
};

class Gauge {
 public:
  explicit Gauge(prometheus::Gauge& gauge) : gauge_(&gauge) {}
  void set(double value) const;
  void add(double by) const;

 private:
  prometheus::Gauge* gauge_;
};

class Histogram {
 public:
  explicit Histogram(prometheus::Histogram& histogram) : histogram_(&histogram) {}
  void observe(double value) const;

 private:
  prometheus::Histogram* histogram_;
};

// Return the metric of this name and these labels, made at the first call. Names are snake_case with the unit last,
// such as "tidemill_http_request_seconds". A lookup takes a lock: keep the handle.
[[nodiscard]] Counter counter(const std::string& name, const std::string& help, const Labels& labels = {});
[[nodiscard]] Gauge gauge(const std::string& name, const std::string& help, const Labels& labels = {});
[[nodiscard]] Histogram histogram(const std::string& name, const std::string& help, const std::vector<double>& buckets,
                                  const Labels& labels = {});

// Upper bounds for times from 100 µs to 10 s, in seconds.
[[nodiscard]] const std::vector<double>& seconds_buckets();

// Returns all metrics in Prometheus' text format 0.0.4.
[[nodiscard]] std::string text();

}  // namespace tidemill::metrics
