#include "jobs/schedule.h"

#include <gtest/gtest.h>

#include "base/clock.h"

namespace tidemill::jobs {
namespace {

std::string next(std::string_view rule, std::string_view after) {
  const auto schedule = Schedule::cron(rule);
  if (!schedule) return schedule.error().message;
  return format_utc(schedule->next_ms(parse_utc(after).value())).substr(0, 16);
}

TEST(Schedule, FindsTheNextMinuteOfACronRule) {
  EXPECT_EQ(next("* * * * *", "2026-01-01T10:00:00Z"), "2026-01-01T10:01");
  EXPECT_EQ(next("* * * * *", "2026-01-01T10:00:59.999Z"), "2026-01-01T10:01");
  EXPECT_EQ(next("30 3 * * *", "2026-01-01T03:30:00Z"), "2026-01-02T03:30");
  EXPECT_EQ(next("*/15 9-17 * * mon-fri", "2026-01-02T17:50:00Z"), "2026-01-05T09:00");
  EXPECT_EQ(next("5/20 * * * *", "2026-01-01T10:26:00Z"), "2026-01-01T10:45");
  EXPECT_EQ(next("0 0 1 JAN,jul *", "2026-01-01T00:00:00Z"), "2026-07-01T00:00");
  EXPECT_EQ(next("0 0 29 2 *", "2096-03-01T00:00:00Z"), "2104-02-29T00:00");
  EXPECT_EQ(next("@daily", "2026-12-31T23:59:00Z"), "2027-01-01T00:00");
  EXPECT_EQ(next("0 0 31 * *", "2026-01-31T00:00:00Z"), "2026-03-31T00:00");
}

TEST(Schedule, EitherDayFieldSufficesWhenBothAreRestricted) {
  EXPECT_EQ(next("0 0 13 * fri", "2026-02-01T00:00:00Z"), "2026-02-06T00:00");
  EXPECT_EQ(next("0 0 13 * fri", "2026-02-06T00:00:00Z"), "2026-02-13T00:00");
  EXPECT_EQ(next("0 0 12 * fri", "2026-02-06T00:00:00Z"), "2026-02-12T00:00");
  EXPECT_EQ(next("0 0 * * 7", "2026-02-01T00:00:00Z"), "2026-02-08T00:00") << "7 is Sunday";
  EXPECT_EQ(next("0 0 * * 5-7", "2026-02-07T00:00:00Z"), "2026-02-08T00:00");
}

TEST(Schedule, RefusesWhatIsNotARule) {
  for (const auto* rule : {"", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *",
                           "* * * * 8", "a * * * *", "5-1 * * * *", "*/0 * * * *", "1, * * * *", "1- * * * *",
                           "-1 * * * *", "0 0 30 2 *", "@never", "* * * foo *", "99999999999999 * * * *"}) {
    const auto schedule = Schedule::cron(rule);
    ASSERT_FALSE(schedule) << rule;
    EXPECT_EQ(schedule.error().reason, "jobs.bad_cron");
  }
  EXPECT_EQ(Schedule::every("999ms").error().reason, "jobs.too_often");
  EXPECT_TRUE(Schedule::every("1s"));
  EXPECT_FALSE(Schedule::every("soon"));
}

TEST(Schedule, ReadsBackItsOwnText) {
  EXPECT_EQ(Schedule::parse(Schedule::every("2h")->text())->next_ms(10), 7'200'010);
  EXPECT_EQ(Schedule::parse("cron 0 3 * * *")->text(), "cron 0 3 * * *");
  EXPECT_FALSE(Schedule::parse("0 3 * * *"));
}

TEST(Schedule, AClockSetBackDoesNotStopAnIntervalNorRepeatACronMoment) {
  const auto hourly = Schedule::every("1h").value();
  const std::int64_t now_ms = parse_utc("2026-01-01T10:00:00Z").value();
  EXPECT_EQ(hourly.corrected_ms(now_ms + 1'000, now_ms), now_ms + 1'000);
  EXPECT_EQ(hourly.corrected_ms(now_ms + 86'400'000, now_ms), now_ms + 3'600'000);
  const auto cron = Schedule::cron("0 3 * * *").value();
  EXPECT_EQ(cron.corrected_ms(now_ms + 86'400'000, now_ms), now_ms + 86'400'000);
}

}  // namespace
}  // namespace tidemill::jobs
