#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <span>

#include "base/yaml.h"
#include "flow/features/plan.h"

namespace tidemill::features {
namespace {

using tables::Type;
using testing::HasSubstr;

constexpr const char* kGood = R"(
name: flight-delay
at: asked_at
refresh: 1h
request:
  - {name: distance, type: integer}
  - {name: carrier, type: text, categories: [AA, UA]}
  - {name: dest, type: text, feature: false}
  - {name: tailnum, type: text, feature: false}
sources:
  - {dataset: flights, known: landed_at, id: [flight_id]}
  - {dataset: planes}
features:
  - {name: seats, source: planes, kind: lookup, key: [tailnum], column: seats}
  - {name: carrier_late_3h, source: flights, kind: window, key: [carrier], column: late, over: 3h, function: mean}
  - {name: dest_flights_24h, source: flights, kind: window, key: [dest], over: 24h, function: count}
  - {name: last_delay, source: flights, kind: as_of, key: [carrier], column: delay, max_age: 4h}
  - {name: last_from, source: flights, kind: as_of, key: [destination], by: [dest], column: carrier}
)";

NewView good() { return json::from_json<NewView>(parse_yaml(kGood, "view.yaml").value()).value(); }

std::vector<std::optional<DatasetShape>> shapes() {
  return {DatasetShape{{{"flight_id", Type::text},
                        {"landed_at", Type::integer},
                        {"carrier", Type::text},
                        {"dest", Type::text},
                        {"destination", Type::text},
                        {"late", Type::boolean},
                        {"delay", Type::integer},
                        {"speed", Type::real}},
                       {}},
          DatasetShape{{{"tailnum", Type::text}, {"seats", Type::integer}, {"maker", Type::text}}, {"tailnum"}}};
}

TEST(Definition, FillsInWhatFollows) {
  const Checked checked = check_definition(good(), shapes()).value();
  ASSERT_EQ(checked.columns.size(), 7u);
  EXPECT_EQ(checked.columns[1].name, "carrier");
  EXPECT_EQ(checked.columns[1].kind, ColumnKind::category);
  EXPECT_EQ(checked.columns[2].type, Type::integer);  // seats, as in the dataset
  EXPECT_EQ(checked.columns[3].type, Type::real);     // a mean
  EXPECT_EQ(checked.columns[4].type, Type::integer);  // a count
  EXPECT_EQ(checked.definition.features[0].by, std::vector<std::string>{"tailnum"});
  EXPECT_EQ(checked.definition.sources[1].id, std::vector<std::string>{"tailnum"});
  // Once filled in, it is a fixed point: what is stored can be handed in again as the same view.
  EXPECT_EQ(json::encode(check_definition(checked.definition, shapes()).value().definition),
            json::encode(checked.definition));
}

TEST(Definition, SharesGroupsAndProbes) {
  const Checked checked = check_definition(good(), shapes()).value();
  const Plan plan = make_plan({"v", 1, "", checked.definition, checked.reads, checked.columns, "", 0}).value();
  EXPECT_EQ(plan.refresh_ms, 3'600'000);
  ASSERT_EQ(plan.sources[0].groups.size(), 3u);  // by carrier, by dest, by destination
  EXPECT_EQ(plan.sources[0].groups[0].horizon_ms, 4 * 3'600'000);
  EXPECT_EQ(plan.sources[0].groups[2].horizon_ms, kForever);
  EXPECT_EQ(plan.sources[0].horizon_ms(), kForever);
  EXPECT_EQ(plan.probes.size(), 4u);
  EXPECT_EQ(plan.features[1].probe, plan.features[3].probe);
  EXPECT_TRUE(plan.sources[1].always_known());
  EXPECT_EQ(plan.tick_ms(7'199'999), 3'600'000);
  EXPECT_EQ(plan.tick_ms(7'200'000), 7'200'000);
  EXPECT_EQ(plan.tick_ms(-1), -3'600'000);
  EXPECT_EQ(plan.tick_ms(-3'600'000), -3'600'000);
}

struct Wrong {
  const char* what;
  std::function<void(NewView&)> break_it;
  const char* message;
};

void expect_refused(std::span<const Wrong> cases) {
  for (const Wrong& wrong : cases) {
    NewView view = good();
    wrong.break_it(view);
    const auto checked = check_definition(view, shapes());
    ASSERT_FALSE(checked) << wrong.what;
    EXPECT_EQ(checked.error().code, Code::kInvalidArgument) << wrong.what;
    EXPECT_THAT(checked.error().message, HasSubstr(wrong.message)) << wrong.what;
    EXPECT_NE(checked.error().remedy, "") << wrong.what;
  }
}

TEST(Definition, NamesWhatIsWrongWithRequestAndSources) {
  const Wrong cases[] = {
      {"name", [](NewView& v) { v.name = "a b"; }, "a b"},
      {"no at", [](NewView& v) { v.at = ""; }, "at is ''"},
      {"refresh", [](NewView& v) { v.refresh = "hourly"; }, "refresh is 'hourly'"},
      {"refresh zero", [](NewView& v) { v.refresh = "0s"; }, "refresh is '0s'"},
      {"empty",
       [](NewView& v) {
         v.request.clear();
         v.features.clear();
         v.sources.clear();
       },
       "no columns"},
      {"request twice", [](NewView& v) { v.request.push_back(v.request[0]); }, "'distance', which stands twice"},
      {"request at", [](NewView& v) { v.request[0].name = "asked_at"; }, "request[0].name is 'asked_at'"},
      {"request control", [](NewView& v) { v.request[0].name = "a\nb"; }, "request[0].name"},
      {"categories of number", [](NewView& v) { v.request[0].categories = {"a"}; }, "request[0].categories"},
      {"categories twice",
       [](NewView& v) {
         v.request[1].categories = {"a", "a"};
       },
       "'a' twice"},
      {"source twice", [](NewView& v) { v.sources[1].dataset = "flights"; }, "sources[1].dataset is 'flights'"},
      {"known unknown", [](NewView& v) { v.sources[0].known = "landing"; }, "sources[0].known is 'landing'"},
      {"known type", [](NewView& v) { v.sources[0].known = "carrier"; }, "'carrier', which is text"},
      {"event without known", [](NewView& v) { v.sources[1].event = "seats"; }, "no `known`"},
      {"delay", [](NewView& v) { v.sources[0].delay = "-1h"; }, "sources[0].delay"},
      {"no id", [](NewView& v) { v.sources[0].id.clear(); }, "sources[0].id is empty"},
      {"id unknown", [](NewView& v) { v.sources[0].id = {"nope"}; }, "sources[0].id is 'nope'"},
  };
  expect_refused(cases);
}

TEST(Definition, NamesWhatIsWrongWithFeatures) {
  const Wrong cases[] = {
      {"feature twice", [](NewView& v) { v.features[1].name = "seats"; }, "features[1].name is 'seats'"},
      {"feature is request", [](NewView& v) { v.features[1].name = "distance"; }, "features[1].name is 'distance'"},
      {"feature source", [](NewView& v) { v.features[0].source = "boats"; }, "features[0].source is 'boats'"},
      {"no key", [](NewView& v) { v.features[0].key.clear(); }, "features[0].key has 0 columns"},
      {"key unknown", [](NewView& v) { v.features[1].key = {"airline"}; }, "features[1].key is 'airline'"},
      {"by unknown", [](NewView& v) { v.features[1].by = {"airline"}; }, "features[1].by is 'airline'"},
      {"by length",
       [](NewView& v) {
         v.features[1].by = {"carrier", "dest"};
       },
       "features[1].by has 2 columns"},
      {"key type", [](NewView& v) { v.features[1].by = {"distance"}; }, "the request's 'distance' is integer"},
      {"key real",
       [](NewView& v) {
         v.request[0].type = Type::real;
         v.features[1].key = {"speed"};
         v.features[1].by = {"distance"};
       },
       "is real"},
      {"lookup by part",
       [](NewView& v) {
         v.features[0].key = {"maker"};
         v.features[0].by = {"tailnum"};
         v.sources[1].id = {"tailnum"};
       },
       "told apart by (tailnum)"},
      {"as_of always known", [](NewView& v) { v.features[0].kind = Kind::as_of; }, "has no `known`"},
      {"window always known", [](NewView& v) { v.features[0].kind = Kind::window; }, "has no `known`"},
      {"lookup with age", [](NewView& v) { v.features[0].max_age = "1h"; }, "has `max_age`"},
      {"lookup with over", [](NewView& v) { v.features[0].over = "1h"; }, "`function` or `over`"},
      {"column unknown", [](NewView& v) { v.features[0].column = "wings"; }, "features[0].column is 'wings'"},
      {"column missing", [](NewView& v) { v.features[0].column = ""; }, "features[0].column is ''"},
      {"no function", [](NewView& v) { v.features[1].function.reset(); }, "features[1] has no `function`"},
      {"no over", [](NewView& v) { v.features[1].over = ""; }, "features[1].over"},
      {"over too long", [](NewView& v) { v.features[1].over = "99999d"; }, "features[1].over"},
      {"mean of text", [](NewView& v) { v.features[1].column = "dest"; }, "'dest', which is text"},
      {"mean type", [](NewView& v) { v.features[1].type = Type::integer; }, "a mean is real"},
      {"lookup type", [](NewView& v) { v.features[0].type = Type::text; }, "'seats' is integer"},
      {"unused source", [](NewView& v) { v.features.erase(v.features.begin()); },
       "No feature reads the source 'planes'"},
  };
  expect_refused(cases);
}

TEST(Definition, NamesADatasetThatDoesNotExist) {
  auto two = shapes();
  two[1].reset();
  EXPECT_THAT(check_definition(good(), two).error().message, HasSubstr("sources[1].dataset is 'planes'"));
}

TEST(Definition, HasLimits) {
  NewView view = good();
  view.request.resize(kColumnsMax - view.features.size());
  for (std::size_t i = 4; i < view.request.size(); ++i) view.request[i].name = "c" + std::to_string(i);
  EXPECT_TRUE(check_definition(view, shapes()));
  view.request.push_back({"more", Type::real, true, {}});
  EXPECT_EQ(check_definition(view, shapes()).error().code, Code::kTooLarge);
}

}  // namespace
}  // namespace tidemill::features
