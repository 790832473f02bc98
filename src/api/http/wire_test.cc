#include "api/http/wire.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tidemill::http {
namespace {

TEST(Head, SaysWhatIsNeededAndNoMore) {
  Response response = Response::text(404, "gone");
  const std::string head = head_of(response, {"id1", "Sun, 06 Nov 1994 08:49:37 GMT", true, false}, 4);
  EXPECT_EQ(head,
            "HTTP/1.1 404 Not Found\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nX-Request-Id: id1\r\n"
            "X-Content-Type-Options: nosniff\r\nContent-Length: 4\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n");
  EXPECT_NE(head_of(response, {"i", "d", false, false}, 4).find("Connection: close\r\n"), std::string::npos);
  EXPECT_NE(head_of(response, {"i", "d", true, true}, 4).find("Connection: keep-alive\r\n"), std::string::npos);
  response.status = 204;
  EXPECT_EQ(head_of(response, {"i", "d", true, false}, std::nullopt).find("\r\nContent-"), std::string::npos);
}

TEST(Head, NoTextOfAHandlerEndsItEarly) {
  Response response;
  response.headers = {
      {"X-Good", "a\tb"}, {"X-Bad", "a\r\nX-Evil: 1"}, {"X-Bad\n", "a"}, {"X-Nul", std::string("a\0b", 3)}};
  response.content_type = "text/plain\r\nX-Evil: 1";
  const std::string head = head_of(response, {"i", "d", true, false}, 0);
  EXPECT_NE(head.find("X-Good: a\tb\r\n"), std::string::npos);
  EXPECT_EQ(head.find("Evil"), std::string::npos);
  EXPECT_EQ(head.find("X-Bad"), std::string::npos);
  EXPECT_EQ(head.find("X-Nul"), std::string::npos);
}

TEST(Head, EveryStatusOfOurCodesHasItsPhrase) {
  for (const int status :
       {200, 201, 202, 204, 206, 304, 400, 401, 403, 404, 405, 409, 413, 416, 429, 431, 500, 501, 503, 507}) {
    EXPECT_FALSE(reason_phrase(status).empty()) << status;
  }
}

struct RangeCase {
  const char* text;
  std::uint64_t bytes;
  std::optional<Range> expected;
  bool satisfiable;
};

TEST(ParseRange, ReadsTheFormsOfRfc9110) {
  const std::vector<RangeCase> table{{"bytes=0-0", 10, Range{0, 0}, true},
                                     {"bytes=2-4", 10, Range{2, 4}, true},
                                     {"bytes=2-", 10, Range{2, 9}, true},
                                     {"bytes=2-99", 10, Range{2, 9}, true},
                                     {"bytes=-3", 10, Range{7, 9}, true},
                                     {"bytes=-99", 10, Range{0, 9}, true},
                                     {"bytes=9-9", 10, Range{9, 9}, true},
                                     {"bytes=10-", 10, Range{10, 9}, false},
                                     {"bytes=-0", 10, Range{10, 9}, false},
                                     {"bytes=0-", 0, Range{0, 0}, false},
                                     {"bytes=4-2", 10, std::nullopt, true},
                                     {"bytes=0-1,3-4", 10, std::nullopt, true},
                                     {"bytes=a-b", 10, std::nullopt, true},
                                     {"bytes=", 10, std::nullopt, true},
                                     {"bytes=-", 10, std::nullopt, true},
                                     {"chunks=0-1", 10, std::nullopt, true},
                                     {"bytes=1-99999999999999999999", 10, std::nullopt, true},
                                     {"", 10, std::nullopt, true}};
  for (const auto& test : table) {
    bool satisfiable = false;
    const auto range = parse_range(test.text, test.bytes, &satisfiable);
    ASSERT_EQ(range.has_value(), test.expected.has_value()) << test.text;
    EXPECT_EQ(satisfiable, test.satisfiable) << test.text;
    if (range && satisfiable) {
      EXPECT_EQ(range->first, test.expected->first) << test.text;
      EXPECT_EQ(range->last, test.expected->last) << test.text;
    }
  }
}

TEST(HttpDate, IsImfFixdate) { EXPECT_EQ(http_date(784111777), "Sun, 06 Nov 1994 08:49:37 GMT"); }

}  // namespace
}  // namespace tidemill::http
