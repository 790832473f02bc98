#include "flow/features/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <tuple>

#include "flow/features/test_frames.h"

namespace tidemill::features {
namespace {

using tables::Frame;
using tables::Type;

// One version of a fact: a row of `id` as it was known from known_ms on.
struct Fact {
  std::int64_t id = 0;
  std::int64_t known_ms = 0;
  std::int64_t event_ms = 0;
  std::optional<std::string> key;
  std::optional<double> value;
};

Frame frame_of(const std::vector<Fact>& facts) {
  FrameMaker maker({{"id", Type::integer},
                    {"known", Type::time},
                    {"event", Type::time},
                    {"key", Type::text},
                    {"value", Type::real}});
  for (const Fact& fact : facts) maker.row(fact.id, fact.known_ms, fact.event_ms, fact.key, fact.value);
  return maker.take();
}

constexpr std::int64_t kShortMs = 300;
constexpr std::int64_t kLongMs = 2'000;
constexpr std::int64_t kAgeMs = 700;

NewView facts_view(std::string refresh, bool events) {
  NewView view;
  view.name = "test";
  view.refresh = std::move(refresh);
  view.request = {{"key", Type::text, false, {}}};
  view.sources = {{"facts", "known", "", events ? "event" : "", {"id"}}};
  const auto feature = [&](std::string name, Kind kind, std::string age, std::string over,
                           std::optional<Function> function) {
    return Feature{std::move(name), "facts",         kind,     {"key"}, {}, "value",
                   std::move(age),  std::move(over), function, {},      {}};
  };
  view.features = {feature("newest", Kind::as_of, "", "", {}), feature("fresh", Kind::as_of, "700ms", "", {}),
                   feature("count_short", Kind::window, "", "300ms", Function::count),
                   feature("sum_short", Kind::window, "", "300ms", Function::sum),
                   feature("mean_long", Kind::window, "", "2s", Function::mean)};
  return view;
}

Plan plan_of(const NewView& view) {
  const DatasetShape shape{
      {{"id", Type::integer}, {"known", Type::time}, {"event", Type::time}, {"key", Type::text}, {"value", Type::real}},
      {}};
  Checked checked = check_definition(view, {shape}).value();
  View out;
  out.name = view.name;
  out.definition = checked.definition;
  out.reads = checked.reads;
  out.columns = checked.columns;
  return make_plan(out).value();
}

struct Answer {
  std::optional<double> newest, fresh, sum_short, mean_long;
  std::optional<std::int64_t> count_short;
  bool operator==(const Answer&) const = default;
};

std::optional<double> real_at(const Frame& frame, std::string_view name, std::size_t row) {
  const tables::Column& column = *frame.find(name);
  return column.is_missing(row) ? std::nullopt : std::optional(column.reals()[row]);
}

std::vector<Answer> answers(const Plan& plan, const SourceMemory& memory,
                            const std::vector<std::pair<std::optional<std::string>, std::int64_t>>& asked) {
  FrameMaker maker({{"key", Type::text}});
  std::vector<std::int64_t> at_ms;
  for (const auto& [key, at] : asked) {
    maker.row(key);
    at_ms.push_back(at);
  }
  const Frame request = maker.take();
  const SourceMemory* sources[] = {&memory};
  const Frame out = compute(plan, sources, request, at_ms).value();
  EXPECT_EQ(tables::frame_fault(out), "");
  std::vector<Answer> found;
  for (std::size_t row = 0; row < out.rows; ++row) {
    Answer one{real_at(out, "newest", row), real_at(out, "fresh", row), real_at(out, "sum_short", row),
               real_at(out, "mean_long", row), std::nullopt};
    const tables::Column& count = *out.find("count_short");
    if (!count.is_missing(row)) one.count_short = count.integers()[row];
    found.push_back(one);
  }
  return found;
}

// The definition, word by word: looks at every fact for every question.
Answer oracle(const std::vector<Fact>& facts, const std::optional<std::string>& key, std::int64_t at_ms,
              std::int64_t refresh_ms, bool events) {
  if (!key) return {};
  const auto tick =
      static_cast<std::int64_t>(std::floor(static_cast<double>(at_ms) / static_cast<double>(refresh_ms))) * refresh_ms;
  std::map<std::int64_t, Fact> state;  // by id: its newest version known before the tick
  for (const Fact& fact : facts) {
    if (fact.known_ms >= tick) continue;
    const auto [found, added] = state.try_emplace(fact.id, fact);
    if (!added && fact.known_ms >= found->second.known_ms) found->second = fact;
  }
  Answer out;
  out.count_short = 0;
  const Fact* newest = nullptr;
  const Fact* fresh = nullptr;
  double sum_long = 0;
  std::int64_t count_long = 0;
  const auto later = [&](const Fact& a, const Fact* b) {
    if (b == nullptr) return true;
    return events ? std::tie(a.event_ms, a.known_ms) > std::tie(b->event_ms, b->known_ms) : a.known_ms > b->known_ms;
  };
  for (const auto& [id, fact] : state) {
    if (fact.key != key) continue;
    if (later(fact, newest)) newest = &fact;
    if (fact.known_ms >= tick - kAgeMs && later(fact, fresh)) fresh = &fact;
    if (!fact.value) continue;
    if (fact.known_ms >= tick - kShortMs) {
      ++*out.count_short;
      out.sum_short = out.sum_short.value_or(0) + *fact.value;
    }
    if (fact.known_ms >= tick - kLongMs) {
      ++count_long;
      sum_long += *fact.value;
    }
  }
  if (newest != nullptr) out.newest = newest->value;
  if (fresh != nullptr) out.fresh = fresh->value;
  if (count_long > 0) out.mean_long = sum_long / static_cast<double>(count_long);
  return out;
}

// Facts with distinct knowledge times, about a third of them corrections: of value, key or event. Values are multiples
// of 1/8, so that plain sums are exact as well. Times straddle 1970.
std::vector<Fact> random_facts(std::mt19937& random, std::size_t many) {
  std::vector<Fact> facts;
  std::int64_t known_ms = -3'000;
  for (std::size_t i = 0; i < many; ++i) {
    known_ms += 1 + static_cast<std::int64_t>(random() % 60);
    Fact fact;
    const bool correction = !facts.empty() && random() % 3 == 0;
    fact.id = correction ? facts[random() % facts.size()].id : static_cast<std::int64_t>(i);
    fact.known_ms = known_ms;
    fact.event_ms = known_ms - static_cast<std::int64_t>(random() % 400);
    if (random() % 12 != 0) fact.key = std::string(1, static_cast<char>('a' + random() % 3));
    if (random() % 6 != 0) fact.value = static_cast<double>(static_cast<std::int64_t>(random() % 4'000) - 2'000) / 8;
    facts.push_back(fact);
  }
  return facts;
}

class EngineProperty : public ::testing::TestWithParam<std::tuple<std::string, bool>> {};

// Batch over everything, online with rows arriving in any order and old ones dropped, and the oracle: all the same
// bits.
TEST_P(EngineProperty, BatchOnlineAndOracleAgree) {
  const auto& [refresh, events] = GetParam();
  const Plan plan = plan_of(facts_view(refresh, events));
  for (unsigned seed = 1; seed <= 12; ++seed) {
    std::mt19937 random(seed);
    const std::vector<Fact> facts = random_facts(random, 250);
    const std::int64_t end_ms = facts.back().known_ms + 500;

    std::vector<std::pair<std::optional<std::string>, std::int64_t>> asked;
    for (int i = 0; i < 300; ++i) {
      std::optional<std::string> key;
      if (random() % 10 != 0) key = std::string(1, static_cast<char>('a' + random() % 4));
      asked.emplace_back(key, -3'200 + static_cast<std::int64_t>(random() % static_cast<unsigned>(end_ms + 3'200)));
    }
    std::ranges::sort(asked, {}, [](const auto& one) { return one.second; });

    SourceMemory batch(plan.sources[0]);
    std::vector<Fact> shuffled = facts;
    std::ranges::shuffle(shuffled, random);
    ASSERT_TRUE(batch.add(frame_of(shuffled)));
    const std::vector<Answer> from_batch = answers(plan, batch, asked);

    SourceMemory online(plan.sources[0]);
    std::size_t next = 0;
    for (std::size_t i = 0; i < asked.size(); ++i) {
      const auto& [key, at_ms] = asked[i];
      std::vector<Fact> arrived;
      while (next < facts.size() && facts[next].known_ms < at_ms) arrived.push_back(facts[next++]);
      std::ranges::shuffle(arrived, random);
      ASSERT_TRUE(online.add(frame_of(arrived)));
      if (!arrived.empty() && random() % 3 == 0) {  // the same again
        ASSERT_TRUE(online.add(frame_of({arrived.back()})));
      }
      const std::vector<Answer> now = answers(plan, online, {asked[i]});
      const Answer truth = oracle(facts, key, at_ms, plan.refresh_ms, events);
      ASSERT_EQ(now[0], from_batch[i]) << "seed " << seed << " at " << at_ms;
      ASSERT_EQ(now[0], truth) << "seed " << seed << " at " << at_ms << " key " << key.value_or("-");
    }
  }
}

INSTANTIATE_TEST_SUITE_P(RefreshAndEvents, EngineProperty,
                         ::testing::Combine(::testing::Values("", "100ms", "1s"), ::testing::Bool()));

// Windows alone keep nothing older than their horizon, and still give the same bits.
TEST(Engine, DroppingWhatNoWindowSeesChangesNothing) {
  NewView view = facts_view("100ms", false);
  std::erase_if(view.features, [](const Feature& f) { return f.name == "newest"; });
  view.features.push_back({"newest", "facts", Kind::as_of, {"key"}, {}, "value", "2s", "", {}, {}, {}});
  const Plan plan = plan_of(view);
  ASSERT_EQ(plan.sources[0].horizon_ms(), kLongMs);
  std::mt19937 random(5);
  const std::vector<Fact> facts = random_facts(random, 2'000);
  SourceMemory all(plan.sources[0]);
  SourceMemory dropping(plan.sources[0]);
  for (std::size_t i = 0; i < facts.size(); ++i) {
    ASSERT_TRUE(all.add(frame_of({facts[i]})));
    ASSERT_TRUE(dropping.add(frame_of({facts[i]})));
    const std::int64_t now_ms = facts[i].known_ms + 50;
    if (i % 40 == 0) dropping.drop_before(plan.tick_ms(now_ms) - kLongMs);
    for (const char* key : {"a", "b", "c"}) {
      ASSERT_EQ(answers(plan, all, {{key, now_ms}}), answers(plan, dropping, {{key, now_ms}})) << i;
    }
  }
  EXPECT_EQ(all.rows(), facts.size());
  EXPECT_LT(dropping.rows(), 300u);
  ASSERT_TRUE(dropping.add(frame_of({facts[0]})));  // too old: left out
  EXPECT_LT(dropping.rows(), 300u);
}

// Whatever became known at or after the tick is as if it were not there.
TEST(Engine, NothingKnownAtOrAfterTheTickHasInfluence) {
  const Plan plan = plan_of(facts_view("1s", false));
  const std::vector<Fact> past{{1, 3'900, 0, "a", 1.0}, {2, 3'999, 0, "a", 2.0}};
  const std::vector<Fact> later{{3, 4'000, 0, "a", 100.0}, {1, 4'000, 0, "a", 50.0}, {4, 4'500, 0, "a", 100.0}};
  SourceMemory memory(plan.sources[0]);
  ASSERT_TRUE(memory.add(frame_of(past)));
  const std::vector<Answer> before = answers(plan, memory, {{"a", 4'000}, {"a", 4'999}});
  ASSERT_TRUE(memory.add(frame_of(later)));
  EXPECT_EQ(answers(plan, memory, {{"a", 4'000}, {"a", 4'999}}), before);
  EXPECT_EQ(before[0].newest, 2.0);
  EXPECT_EQ(before[0].sum_short, 3.0);
  const std::vector<Answer> after = answers(plan, memory, {{"a", 5'000}});
  EXPECT_EQ(after[0].newest, 100.0);
  EXPECT_EQ(after[0].mean_long, (2.0 + 100.0 + 50.0 + 100.0) / 4);  // row 1 as corrected
}

TEST(Engine, WindowsHoldTheirFirstInstantAndNotTheTick) {
  const Plan plan = plan_of(facts_view("", false));
  SourceMemory memory(plan.sources[0]);
  ASSERT_TRUE(memory.add(frame_of({{1, 1'000, 0, "a", 1.0}})));
  const auto counts = answers(plan, memory, {{"a", 1'000}, {"a", 1'001}, {"a", 1'300}, {"a", 1'301}});
  EXPECT_EQ(counts[0].count_short, 0);
  EXPECT_EQ(counts[1].count_short, 1);
  EXPECT_EQ(counts[2].count_short, 1);
  EXPECT_EQ(counts[3].count_short, 0);
  EXPECT_EQ(answers(plan, memory, {{"a", 1'700}})[0].fresh, 1.0);
  EXPECT_EQ(answers(plan, memory, {{"a", 1'701}})[0].fresh, std::nullopt);
  EXPECT_EQ(answers(plan, memory, {{"a", 1'701}})[0].newest, 1.0);
}

TEST(Engine, SumsAreExactWhateverCameBefore) {
  const Plan plan = plan_of(facts_view("", false));
  SourceMemory memory(plan.sources[0]);
  ASSERT_TRUE(memory.add(
      frame_of({{1, 10, 0, "a", 1e14}, {2, 20, 0, "a", 0.1}, {3, 30, 0, "a", 0.2}, {4, 40, 0, "a", -1e14}})));
  EXPECT_EQ(answers(plan, memory, {{"a", 41}})[0].sum_short, 0.1 + 0.2);
  EXPECT_EQ(answers(plan, memory, {{"a", 2'015}})[0].mean_long, (0.1 + 0.2 - 1e14) / 3);
}

TEST(Engine, RefusesNumbersThatCannotBeSummed) {
  const Plan plan = plan_of(facts_view("", false));
  SourceMemory memory(plan.sources[0]);
  for (const double value : {HUGE_VAL, -HUGE_VAL, 1.5e14}) {
    const auto refused = memory.add(frame_of({{1, 10, 0, "a", 1.0}, {2, 20, 0, "a", value}}));
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().message.find("row 2"), std::string::npos) << refused.error().message;
  }
  EXPECT_EQ(memory.rows(), 0u);
  ASSERT_TRUE(memory.add(frame_of({{1, 10, 0, "a", NAN}})));  // not a number is a missing one
  EXPECT_EQ(answers(plan, memory, {{"a", 11}})[0].count_short, 0);
}

// A source without knowledge time: the last row of a key, of any type.
TEST(Engine, LooksUpValuesOfEveryType) {
  NewView view;
  view.name = "lookups";
  view.request = {{"tail", Type::text, false, {}}, {"wheels", Type::integer, true, {}}};
  view.sources = {{"planes", "", "", "", {}}};
  for (const char* column : {"seats", "maker", "jet", "built", "weight"}) {
    view.features.push_back({column, "planes", Kind::lookup, {"tail"}, {}, column, "", "", {}, {}, {}});
  }
  view.features[0].type = Type::real;
  const std::vector<tables::ColumnType> columns{{"tail", Type::text},  {"seats", Type::integer},
                                                {"maker", Type::text}, {"jet", Type::boolean},
                                                {"built", Type::time}, {"weight", Type::real}};
  Checked checked = check_definition(view, {DatasetShape{columns, {}}}).value();
  const Plan plan = make_plan({"lookups", 1, "", checked.definition, checked.reads, checked.columns, "", 0}).value();
  SourceMemory memory(plan.sources[0]);
  FrameMaker planes(columns);
  planes.row("N1", 100, "Boeing", true, std::int64_t{-5}, 1.5);
  planes.row("N2", std::nullopt, std::nullopt, std::nullopt, std::nullopt, std::nullopt);
  planes.row("N1", 149, "Airbus", false, std::int64_t{7}, 2.5);
  ASSERT_TRUE(memory.add(planes.take()));
  FrameMaker request({{"tail", Type::text}});
  for (const std::optional<std::string>& tail :
       {std::optional<std::string>("N1"), {"N2"}, {"N3"}, std::optional<std::string>()})
    request.row(tail);
  const SourceMemory* sources[] = {&memory};
  const std::vector<std::int64_t> at_ms{0, 0, 0, 0};
  const Frame out = compute(plan, sources, request.take(), at_ms).value();
  ASSERT_EQ(tables::frame_fault(out), "");
  EXPECT_EQ(out.columns.front().name, "wheels");
  EXPECT_EQ(out.find("wheels")->missing(), 4u);  // not brought along
  EXPECT_EQ(out.find("seats")->reals()[0], 149.0);
  EXPECT_EQ(out.find("maker")->texts()[0], "Airbus");
  EXPECT_EQ(out.find("jet")->booleans()[0], 0);
  EXPECT_EQ(out.find("built")->integers()[0], 7);
  EXPECT_EQ(out.find("weight")->reals()[0], 2.5);
  for (const char* name : {"seats", "maker", "jet", "built", "weight"})
    EXPECT_EQ(out.find(name)->missing(), 3u) << name;
}

// The same key spelled by two columns is not the same as by one, and parts never run into each other.
TEST(Engine, KeysOfSeveralColumnsStayApart) {
  FrameMaker maker({{"x", Type::text}, {"y", Type::text}, {"z", Type::integer}});
  maker.row("ab", "c", 1);
  maker.row("a", "bc", 1);
  maker.row("", "1:a", 2);
  maker.row("1:a", "", 2);
  maker.row(std::nullopt, "n", 2);
  maker.row("n", std::nullopt, 2);
  const Frame frame = maker.take();
  std::set<std::string> ids;
  for (std::size_t row = 0; row < frame.rows; ++row) {
    std::string bytes;
    for (const tables::Column& column : frame.columns) append_key(bytes, column, row);
    ids.insert(bytes);
  }
  EXPECT_EQ(ids.size(), frame.rows);
}

}  // namespace
}  // namespace tidemill::features
