#include "flow/monitors/calendar.h"

#include <gtest/gtest.h>

#include <string>

#include "base/clock.h"

namespace tidemill::monitors {
namespace {

struct Case {
  const char* window;
  std::int64_t offset_minutes;
  const char* at;
  const char* start;
  const char* end;
  const char* label;
};

class CalendarTest : public testing::TestWithParam<Case> {};

TEST_P(CalendarTest, FindsTheWindow) {
  const Case& c = GetParam();
  const Span span = Calendar::create(c.window, c.offset_minutes).value().at(parse_utc(c.at).value());
  EXPECT_EQ(format_utc(span.start_ms), std::string(c.start));
  EXPECT_EQ(format_utc(span.end_ms), std::string(c.end));
  EXPECT_EQ(span.label, c.label);
}

INSTANTIATE_TEST_SUITE_P(
    All, CalendarTest,
    testing::Values(
        Case{"month", 0, "2013-03-01T00:00:00Z", "2013-03-01T00:00:00.000Z", "2013-04-01T00:00:00.000Z", "2013-03"},
        Case{"month", 0, "2012-02-29T23:59:59.999Z", "2012-02-01T00:00:00.000Z", "2012-03-01T00:00:00.000Z", "2012-02"},
        Case{"month", -300, "2013-04-01T04:59:59Z", "2013-03-01T05:00:00.000Z", "2013-04-01T05:00:00.000Z", "2013-03"},
        Case{"month", 480, "2013-12-31T16:00:00Z", "2013-12-31T16:00:00.000Z", "2014-01-31T16:00:00.000Z", "2014-01"},
        Case{"week", 0, "2013-01-01T00:00:00Z", "2012-12-31T00:00:00.000Z", "2013-01-07T00:00:00.000Z", "2013-W01"},
        Case{"week", 0, "2012-12-30T23:59:59Z", "2012-12-24T00:00:00.000Z", "2012-12-31T00:00:00.000Z", "2012-W52"},
        Case{"week", 0, "2021-01-03T00:00:00Z", "2020-12-28T00:00:00.000Z", "2021-01-04T00:00:00.000Z", "2020-W53"},
        Case{"day", 0, "1969-12-31T12:00:00Z", "1969-12-31T00:00:00.000Z", "1970-01-01T00:00:00.000Z", "1969-12-31"},
        Case{"6h", 0, "2013-03-01T13:00:00Z", "2013-03-01T12:00:00.000Z", "2013-03-01T18:00:00.000Z",
             "2013-03-01T12:00"}));

TEST(Calendar, WindowsFollowEachOtherWithoutGap) {
  for (const char* window : {"day", "week", "month", "7h"}) {
    const auto calendar = Calendar::create(window, -300).value();
    Span span = calendar.at(1'356'000'000'000);
    for (int i = 0; i < 500; ++i) {
      EXPECT_EQ(calendar.at(span.end_ms - 1).start_ms, span.start_ms);
      const Span next = calendar.at(span.end_ms);
      EXPECT_EQ(next.start_ms, span.end_ms);
      span = next;
    }
  }
}

TEST(Calendar, RefusesOtherWords) {
  for (const char* bad : {"", "year", "59s", "1", "-1h"}) EXPECT_FALSE(Calendar::create(bad, 0)) << bad;
  EXPECT_TRUE(Calendar::create("1m", 1439));
  EXPECT_FALSE(Calendar::create("day", 1440));
  EXPECT_FALSE(Calendar::create("day", -1440));
}

}  // namespace
}  // namespace tidemill::monitors
