#include "flow/traces/traces.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <future>
#include <memory>
#include <set>

#include "base/files.h"
#include "flow/traces/events.h"
#include "flow/traces/usage.h"
#include "storage/blobs/store.h"

namespace tidemill::traces {
namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;

TraceId id_of(int number) { return TraceId::trusted(fmt::format("tr-{:032x}", number)); }

Span make_span(int trace, int number, int parent = 0, std::string name = "step") {
  Span span;
  span.trace = id_of(trace);
  span.id = fmt::format("{:016x}", number);
  if (parent != 0) span.parent = fmt::format("{:016x}", parent);
  span.name = std::move(name);
  span.type = "TOOL";
  span.start_ns = number * kSecondNs;
  span.end_ns = span.start_ns + kSecondNs;
  span.attributes = {{"n", number}, {"half", 0.5}, {"text", "潮汐"}};
  return span;
}

NewTrace make_trace(int number) {
  NewTrace trace;
  trace.id = id_of(number);
  trace.at_ms = number * 1'000;
  trace.duration_ms = 250;
  trace.state = State::ok;
  trace.name = fmt::format("name {}", number % 2);
  trace.tags = {{"team", number % 2 == 0 ? "risk" : "ops"}, {"number", std::to_string(number)}};
  trace.metadata = {{"user", "ann"}};
  return trace;
}

class TracesTest : public testing::Test {
 protected:
  void SetUp() override { open({}); }
  void open(Limits limits) {
    traces_.reset();
    runs_.reset();
    events_.reset();
    database_.reset();
    database_ = sql::Database::open(folder_.path() / "t.db").value();
    events_ = events::Events::create(*database_, clock_).value();
    if (!blobs_) blobs_ = blobs::LocalStore::create(folder_.path() / "blobs").value();
    runs_ = runs::Runs::create(*database_, *events_, *blobs_, clock_).value();
    traces_ = Traces::create(*database_, *events_, *runs_, clock_, limits).value();
  }
  template <class F>
  auto write(F function) {
    return database_->write([&](sql::Tx& tx) { return function(tx); });
  }
  Result<Trace> start(const NewTrace& trace) {
    return write([&](sql::Tx& tx) { return traces_->start(tx, trace); });
  }
  Result<void> add(std::vector<Span> spans, std::vector<TraceHints> hints = {}) {
    return write([&](sql::Tx& tx) {
      return traces_->add_spans(tx, {ExperimentId(0), std::move(spans), std::move(hints), {}});
    });
  }
  Trace get(int number) {
    return database_->read([&](sql::Tx& tx) { return traces_->trace(tx, id_of(number)); }).value();
  }
  std::vector<Span> spans(int number) {
    return database_->read([&](sql::Tx& tx) { return traces_->spans(tx, id_of(number)); }).value();
  }
  Result<Page<Trace>> search(const std::string& filter, std::vector<std::string> order = {}, std::int64_t limit = 100,
                             std::int64_t offset = 0) {
    return database_->read([&](sql::Tx& tx) {
      return traces_->search(tx, {{ExperimentId(0)}, filter, std::move(order), limit, offset});
    });
  }
  std::size_t found(const std::string& filter) { return search(filter).value().items.size(); }
  Result<Assessment> assess(int trace, json::Value value, std::string overrides = "") {
    Assessment assessment;
    assessment.trace = id_of(trace);
    assessment.name = "good";
    assessment.value = std::move(value);
    assessment.overrides = std::move(overrides);
    return write([&](sql::Tx& tx) { return traces_->assess(tx, actor_, assessment); });
  }
  std::vector<std::string> kinds() {
    std::vector<std::string> kinds;
    const auto read = events_->read({.kind_prefix = "traces."}).value();
    for (const auto& event : read) kinds.push_back(event.kind);
    return kinds;
  }

  TemporaryFolder folder_ = TemporaryFolder::create().value();
  FakeClock clock_;
  const access::Actor actor_{.name = "ann"};
  std::unique_ptr<sql::Database> database_;
  std::unique_ptr<events::Events> events_;
  std::unique_ptr<blobs::Store> blobs_;
  std::unique_ptr<runs::Runs> runs_;
  std::unique_ptr<Traces> traces_;
};

TEST_F(TracesTest, SpansComeBackWithRootsFirst) {
  Span child = make_span(1, 1, 2);
  child.events = {{"event", 5, {{"a", 1}}}};
  child.links = {{"tr-other", "00000000000000aa", {{"why", "because"}}}};
  child.status = SpanStatus::error;
  child.status_message = "no";
  ASSERT_TRUE(add({child, make_span(1, 2)}));
  const auto read = spans(1);
  ASSERT_EQ(read.size(), 2u);
  EXPECT_EQ(read[0].id, make_span(1, 2).id);
  EXPECT_EQ(read[1].attributes, child.attributes);
  EXPECT_EQ(read[1].events[0].attributes, child.events[0].attributes);
  EXPECT_EQ(read[1].links[0].trace, "tr-other");
  EXPECT_EQ(read[1].status, SpanStatus::error);
  EXPECT_EQ(read[1].status_message, "no");
  EXPECT_EQ(read[1].end_ns, child.end_ns);
}

TEST_F(TracesTest, ATraceIsAsItsSpansTell) {
  ASSERT_TRUE(add({make_span(1, 3, 1)}));
  EXPECT_EQ(get(1).state, State::in_progress);
  EXPECT_EQ(get(1).at_ms, 3'000);
  ASSERT_TRUE(add({make_span(1, 1), make_span(1, 7, 1)}));
  EXPECT_EQ(get(1).state, State::ok);
  EXPECT_EQ(get(1).at_ms, 1'000);
  EXPECT_EQ(get(1).duration_ms, 7'000);
  EXPECT_EQ(get(1).spans, 3);
}

TEST_F(TracesTest, TheOrderOfArrivalDoesNotMatter) {
  TraceHints hints{id_of(1), "root", {{"team", "hinted"}, {"more", "x"}}, {{"user", "bob"}}, "in", "out"};
  ASSERT_TRUE(start(make_trace(1)));
  ASSERT_TRUE(add({make_span(1, 50)}, {hints}));
  hints.trace = id_of(3);
  ASSERT_TRUE(add({make_span(3, 50)}, {hints}));
  ASSERT_TRUE(start(make_trace(3)));
  for (const int number : {1, 3}) {
    const Trace trace = get(number);
    EXPECT_EQ(trace.at_ms, number * 1'000);
    EXPECT_EQ(trace.duration_ms, 250);
    EXPECT_EQ(trace.name, "name 1");
    EXPECT_EQ(trace.metadata.front().value, "ann");
    EXPECT_EQ(trace.request_preview, "in");
    EXPECT_EQ(trace.spans, 1);
    EXPECT_EQ(trace.tags.size(), 3u);
  }
}

TEST_F(TracesTest, ASpanSentAgainReplacesItself) {
  Span span = make_span(1, 1);
  span.usage.input_tokens = 10;
  ASSERT_TRUE(add({span}));
  span.usage.input_tokens = 20;
  span.name = "later";
  ASSERT_TRUE(add({span}));
  EXPECT_EQ(spans(1).size(), 1u);
  EXPECT_EQ(spans(1)[0].name, "later");
  EXPECT_EQ(get(1).usage.input_tokens, 20);
}

TEST_F(TracesTest, ABatchIsKeptWholeOrNotAtAll) {
  Span bad = make_span(2, 1);
  bad.id = "short";
  EXPECT_FALSE(add({make_span(1, 1), bad}));
  EXPECT_EQ(found(""), 0u);
}

TEST_F(TracesTest, SpansThatCannotBeAreRefused) {
  Span backwards = make_span(1, 1);
  backwards.end_ns = backwards.start_ns - 1;
  EXPECT_EQ(add({backwards}).error().code, Code::kInvalidArgument);
  Span self = make_span(1, 1, 1);  // a circle is kept, and summed up to nothing
  self.usage.input_tokens = 1;
  EXPECT_TRUE(add({self}));
  EXPECT_FALSE(get(1).usage.input_tokens);
}

TEST_F(TracesTest, ManyClientsShareCommits) {
  std::vector<std::future<Result<void>>> answers;
  for (int i = 1; i <= 200; ++i) {
    auto promise = std::make_shared<std::promise<Result<void>>>();
    answers.push_back(promise->get_future());
    traces_->add_spans_async({ExperimentId(0), {make_span(i, 1)}, {}, {}},
                             [promise](Result<void> result) { promise->set_value(std::move(result)); });
  }
  for (auto& answer : answers) EXPECT_TRUE(answer.get());
  EXPECT_EQ(found(""), 100u);  // a page
  EXPECT_EQ(search("").value().next, 100);
}

TEST_F(TracesTest, WhatIsSaidByAParentIsNotCountedTwice) {
  const auto node = [](std::string id, std::string parent, std::optional<std::int64_t> tokens,
                       std::optional<double> cost) {
    Usage usage;
    usage.input_tokens = tokens;
    usage.total_cost = cost;
    return UsageNode{std::move(id), std::move(parent), usage};
  };
  const Usage sum =
      sum_usage({node("root", "", {}, {}), node("agent", "root", 12, {}), node("a", "agent", 5, 0.25),
                 node("b", "agent", 7, 0.5), node("other", "root", 1, {}), node("orphan", "nobody", 100, {})});
  EXPECT_EQ(sum.input_tokens, 12 + 1 + 100);
  EXPECT_EQ(sum.output_tokens, 0);
  EXPECT_DOUBLE_EQ(*sum.total_cost, 0.75);
  EXPECT_FALSE(sum.cache_read_tokens);
  EXPECT_FALSE(sum_usage({node("root", "", {}, {})}).has_tokens());
}

TEST_F(TracesTest, SearchesByEveryKindOfField) {
  for (int i = 1; i <= 6; ++i) {
    ASSERT_TRUE(start(make_trace(i)));
    ASSERT_TRUE(add({make_span(i, 1, 0, i == 3 ? "special" : "root"), make_span(i, 2, 1)}));
  }
  ASSERT_TRUE(assess(2, 0.75));
  ASSERT_TRUE(assess(4, "fine"));
  const std::vector<std::pair<std::string, std::size_t>> cases{
      {"", 6},
      {"tags.team = 'risk'", 3},
      {"tags.number IS NOT NULL AND tags.number != '1'", 5},
      {"metadata.user = 'ann' AND name = 'name 1'", 3},
      {"timestamp_ms >= 3000 AND timestamp_ms < 5000", 2},
      {"end_time_ms > 6000", 1},
      {"span.name = 'special'", 1},
      {"span.name = 'special' AND span.attributes.n = '1'", 1},
      {"span.name = 'special' AND span.attributes.n = '2'", 0},
      {"span.attributes.half = '0.5'", 6},
      {"trace.text LIKE '%潮汐%'", 6},
      {"feedback.good > 0.7", 1},
      {"feedback.good = 'fine'", 1},
      {"feedback.good IS NULL", 4},
      {fmt::format("trace_id IN ('{}', 'tr-nobody')", id_of(5).str()), 1}};
  for (const auto& [filter, count] : cases) EXPECT_EQ(found(filter), count) << filter;
  for (const char* filter : {"span.attributes.\"a\"b\" = 'x'", "tags.team > 'a'", "text = 'x'", "nothing = 'x'"}) {
    EXPECT_EQ(search(filter).error().code, Code::kInvalidArgument) << filter;
  }
  EXPECT_EQ(search("", {"timestamp_ms ASC"}).value().items.front().id, id_of(1));
  EXPECT_EQ(search("", {"tags.team", "timestamp_ms DESC"}).value().items.front().id, id_of(5));
}

TEST_F(TracesTest, ADrivenSearchFindsWhatAWalkFinds) {
  // More than what one condition may drive, so that both ways are gone.
  std::vector<Span> many;
  for (int i = 1; i <= 2'500; ++i) many.push_back(make_span(i, 1, 0, i % 2 == 0 ? "even" : "odd"));
  ASSERT_TRUE(add(many));
  for (int i = 1; i <= 2'500; i += 100) ASSERT_TRUE(start(make_trace(i)));
  EXPECT_EQ(found("tags.team = 'ops' AND span.name = 'odd'"), 25u);
  std::set<std::string> ids;
  for (std::int64_t offset = 0;; offset += 500) {
    const auto page = search("span.name LIKE 'e%'", {}, 500, offset).value();
    for (const Trace& trace : page.items) ids.insert(trace.id.str());
    if (!page.next) break;
  }
  EXPECT_EQ(ids.size(), 1'250u);
}

TEST_F(TracesTest, AnOverriddenAssessmentComesBack) {
  ASSERT_TRUE(start(make_trace(1)));
  const Assessment first = assess(1, 1).value();
  const Assessment second = assess(1, 2, first.id.str()).value();
  EXPECT_FALSE(get(1).assessments[0].valid);
  EXPECT_EQ(found("feedback.good = '1'"), 0u);
  ASSERT_TRUE(write([&](sql::Tx& tx) { return traces_->delete_assessment(tx, actor_, id_of(1), second.id); }));
  EXPECT_TRUE(get(1).assessments[0].valid);
  EXPECT_EQ(assess(1, 2, "a-nobody").error().code, Code::kNotFound);
  EXPECT_EQ(kinds(), (std::vector<std::string>{"traces.assessed", "traces.assessed", "traces.assessment_deleted"}));
}

TEST_F(TracesTest, DeletingLeavesNothing) {
  for (int i = 1; i <= 3; ++i) {
    ASSERT_TRUE(start(make_trace(i)));
    ASSERT_TRUE(add({make_span(i, 1)}));
    ASSERT_TRUE(assess(i, 1));
  }
  EXPECT_EQ(traces_->remove(actor_, {ExperimentId(0), {}, {}, {}}).error().code, Code::kInvalidArgument);
  EXPECT_EQ(traces_->remove(actor_, {ExperimentId(0), 2'500, {}, 1}).value(), std::vector{id_of(1)});
  EXPECT_EQ(traces_->remove(actor_, {ExperimentId(0), {}, {id_of(2), id_of(9)}, {}}).value(), std::vector{id_of(2)});
  EXPECT_EQ(traces_->remove(actor_, {ExperimentId(7), {}, {id_of(3)}, {}}).value().size(), 0u);
  constexpr sql::Query kLeft{"test.left",
                             "SELECT (SELECT count(*) FROM trace_spans) + (SELECT count(*) FROM trace_assessments)"
                             " + (SELECT count(DISTINCT trace) FROM trace_values)"};
  EXPECT_EQ(database_->read([&](sql::Tx& tx) { return tx.integer(kLeft, 0); }).value(), 3);
  EXPECT_EQ(found(""), 1u);
}

TEST_F(TracesTest, LinksToRunsAndPrompts) {
  ASSERT_TRUE(start(make_trace(1)));
  const RunId run = write([&](sql::Tx& tx) {
                      return runs_->start(tx, {ExperimentId(0), "run", "ann", 1, {}});
                    })
                        .value()
                        .info.id;
  ASSERT_TRUE(write([&](sql::Tx& tx) { return traces_->link_run(tx, run, {id_of(1), id_of(9)}); }));
  ASSERT_TRUE(write([&](sql::Tx& tx) { return traces_->link_run(tx, run, {id_of(1)}); }));
  ASSERT_TRUE(write([&](sql::Tx& tx) { return traces_->link_prompts(tx, id_of(1), {{"greet", 2}}); }));
  EXPECT_EQ(found(fmt::format("run_id = '{}'", run.str())), 1u);
  EXPECT_EQ(found("prompt = 'greet/2'"), 1u);
  EXPECT_EQ(found("prompt = 'greet/1'"), 0u);
}

TEST_F(TracesTest, EveryLimitIsKept) {
  Limits limits;
  limits.batch_spans_max = 2;
  limits.span_bytes_max = 200;
  limits.trace_spans_max = 3;
  limits.nesting_max = 2;
  limits.tag_chars_max = 8;
  limits.key_chars_max = 10;
  limits.preview_chars_max = 5;
  limits.assessments_max = 1;
  limits.assessment_bytes_max = 40;
  limits.linked_max = 1;
  limits.search_results_max = 2;
  limits.span_name_chars_max = 6;
  open(limits);
  ASSERT_TRUE(add({make_span(1, 1), make_span(1, 2)}));
  EXPECT_EQ(add({make_span(1, 1), make_span(1, 2), make_span(1, 3)}).error().code, Code::kTooLarge);
  Span span = make_span(1, 3, 0, "a long name");
  span.attributes = {{"a", json::Array{json::Array{1}}}};
  EXPECT_TRUE(add({span}));
  EXPECT_EQ(spans(1)[2].name, "a l...");
  span.attributes = {{"a", json::Array{json::Array{json::Array{1}}}}};
  EXPECT_EQ(add({span}).error().code, Code::kInvalidArgument);
  span.attributes = {{"a", std::string(200, 'x')}};
  EXPECT_EQ(add({span}).error().code, Code::kTooLarge);
  ASSERT_TRUE(add({make_span(1, 4)}));
  EXPECT_EQ(database_->read([&](sql::Tx& tx) { return traces_->spans(tx, id_of(1)); }).error().code, Code::kTooLarge);
  NewTrace trace = make_trace(2);
  trace.tags = {{"ten chars.", "潮汐磨坊潮汐磨坊"}, {"cut", "潮汐磨坊潮汐磨坊潮"}};
  trace.request_preview = "123456";
  const Trace kept = start(trace).value();
  EXPECT_EQ(kept.tags[0].value, "潮汐磨坊潮...");
  EXPECT_EQ(kept.tags[1].value, "潮汐磨坊潮汐磨坊");
  EXPECT_EQ(kept.request_preview, "12...");
  trace.tags = {{"eleven char", ""}};
  EXPECT_EQ(start(trace).error().code, Code::kInvalidArgument);
  EXPECT_EQ(assess(2, json::Value(std::string_view(std::string(40, 'x')))).error().code, Code::kTooLarge);
  EXPECT_TRUE(assess(2, 1));
  EXPECT_EQ(assess(2, 1).error().code, Code::kTooLarge);
  EXPECT_EQ(search("", {}, 3).error().code, Code::kInvalidArgument);
  EXPECT_EQ(write([&](sql::Tx& tx) {
              return traces_->link_prompts(tx, id_of(2), {{"a", 1}, {"b", 1}});
            })
                .error()
                .code,
            Code::kInvalidArgument);
}

TEST_F(TracesTest, NothingIsWrittenToADeletedExperiment) {
  const auto experiment = write([&](sql::Tx& tx) {
                            return runs_->add_experiment(tx, actor_, {"gone", "", {}});
                          })
                              .value()
                              .id;
  ASSERT_TRUE(write([&](sql::Tx& tx) { return runs_->delete_experiment(tx, actor_, experiment); }));
  NewTrace trace = make_trace(1);
  trace.experiment = experiment;
  EXPECT_EQ(start(trace).error().code, Code::kInvalidArgument);
  EXPECT_FALSE(write([&](sql::Tx& tx) { return traces_->add_spans(tx, {experiment, {make_span(1, 1)}, {}, {}}); }));
}

TEST_F(TracesTest, WhatWasAcknowledgedIsThereAfterARestart) {
  ASSERT_TRUE(start(make_trace(1)));
  ASSERT_TRUE(add({make_span(1, 1)}));
  open({});
  EXPECT_EQ(get(1).spans, 1);
  ASSERT_TRUE(start(make_trace(2)));
  EXPECT_EQ(found("tags.number = '2'"), 1u);
}

}  // namespace
}  // namespace tidemill::traces
