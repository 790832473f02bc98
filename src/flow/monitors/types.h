// What a monitor watches and what it saw.
#pragma once

#include <boost/describe.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/enums.h"
#include "base/json.h"
#include "flow/requirements/types.h"
#include "statistics/baseline.h"

namespace tidemill::monitors {

// By which clock windows close: `event` follows the newest prediction's own time (replays, batches that arrive late),
// `wall` the server's clock.
enum class Time { event, wall };
BOOST_DESCRIBE_ENUM(Time, event, wall)

// When drift is an alert. A feature has drifted when its PSI reaches `psi_alert` (0.25: "significant", Siddiqi 2006)
// and at least `rows_min` rows say so.
struct DriftRule {
  using json_defaults = void;
  double psi_alert = 0.25;
  double score_psi_alert = 0.25;      // of the model's own output
  std::int64_t rows_min = 500;        // windows with fewer rows are measured, but never an alert
  std::int64_t features_min = 1;      // how many features must have drifted together
  std::vector<std::string> features;  // only these count for alerts; empty = all
};
BOOST_DESCRIBE_STRUCT(DriftRule, (), (psi_alert, score_psi_alert, rows_min, features_min, features))

struct NewMonitor {
  using json_defaults = void;
  std::string name;
  std::string deployment;
  std::string requirement;              // its rules are judged on the window's labelled rows; "" = none
  std::string window = "day";           // "day", "week" (from Monday), "month", or a duration such as "6h"
  std::int64_t utc_offset_minutes = 0;  // where days begin: -300 is New York's winter
  Time time = Time::wall;
  std::string maturity = "0s";    // how long after its end a window waits for labels
  std::int64_t labels_min = 200;  // with fewer labelled rows the requirement is not judged
  DriftRule drift;
};
BOOST_DESCRIBE_STRUCT(NewMonitor, (),
                      (name, deployment, requirement, window, utc_offset_minutes, time, maturity, labels_min, drift))

struct Monitor : NewMonitor {
  std::string made_by;
  std::int64_t made_ms = 0;
};
BOOST_DESCRIBE_STRUCT(Monitor, (NewMonitor), (made_by, made_ms))

// Quality on labelled rows. Absent values could not be computed: no labelled row, or one class only.
struct Quality {
  using json_defaults = void;
  std::int64_t rows = 0;
  std::int64_t labelled = 0;
  std::int64_t positives = 0;
  std::optional<double> auc;
  std::optional<double> auc_low;  // 95 %, DeLong
  std::optional<double> auc_high;
  std::optional<double> brier;
  std::optional<double> log_loss;
  std::optional<double> mean_score;  // over all rows, labelled or not
};
BOOST_DESCRIBE_STRUCT(Quality, (), (rows, labelled, positives, auc, auc_low, auc_high, brier, log_loss, mean_score))

struct VersionQuality {
  std::int64_t version = 0;
  std::string role;  // champion, candidate or shadow
  Quality quality;
};
BOOST_DESCRIBE_STRUCT(VersionQuality, (), (version, role, quality))

enum class AlertKind { requirement, drift, score_drift };
BOOST_DESCRIBE_ENUM(AlertKind, requirement, drift, score_drift)

struct Alert {
  AlertKind kind = AlertKind::requirement;
  std::string subject;  // the metric or the feature
  double value = 0;
  double limit = 0;
  std::string message;
};
BOOST_DESCRIBE_STRUCT(Alert, (), (kind, subject, value, limit, message))

// One closed window. Never changes afterwards; labels that come later count in no window.
struct Window {
  std::string monitor;
  std::string deployment;
  std::string label;  // "2013-03", "2013-W09", "2013-03-01" or the start's time
  std::int64_t start_ms = 0;
  std::int64_t end_ms = 0;    // exclusive
  std::int64_t champion = 0;  // the version whose baseline drift was measured against
  Quality served;             // champion and candidate together: what callers got
  std::vector<VersionQuality> versions;
  std::vector<statistics::FeatureDrift> drift;
  std::optional<statistics::FeatureDrift> score_drift;
  std::vector<requirements::Verdict> verdicts;
  std::vector<Alert> alerts;
  std::int64_t alert_count = 0;
  std::int64_t closed_ms = 0;
};
BOOST_DESCRIBE_STRUCT(Window, (),
                      (monitor, deployment, label, start_ms, end_ms, champion, served, versions, drift, score_drift,
                       verdicts, alerts, alert_count, closed_ms))

// The window that is open, and when it closes.
struct Upcoming {
  std::string label;
  std::int64_t start_ms = 0;
  std::int64_t end_ms = 0;
  std::int64_t closes_ms = 0;  // its end and the maturity of labels, by the monitor's clock
  std::int64_t now_ms = 0;     // what that clock says: the server's time, or the newest prediction's
  Time time = Time::wall;
};
BOOST_DESCRIBE_STRUCT(Upcoming, (), (label, start_ms, end_ms, closes_ms, now_ms, time))

}  // namespace tidemill::monitors
