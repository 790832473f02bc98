#include "flow/features/features.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <random>
#include <thread>

#include "base/files.h"
#include "base/yaml.h"
#include "flow/datasets/datasets.h"
#include "flow/features/json_frame.h"
#include "flow/features/test_frames.h"
#include "storage/blobs/store.h"

namespace tidemill::features {
namespace {

using tables::Frame;
using tables::Type;
using testing::HasSubstr;

constexpr std::int64_t kHour = 3'600'000;
constexpr std::int64_t kDay = 24 * kHour;

constexpr const char* kView = R"(
name: delays
at: asked_at
refresh: 1h
request:
  - {name: distance, type: integer}
  - {name: carrier, type: text}
  - {name: tail, type: text, feature: false}
sources:
  - {dataset: flights, known: landed_at, id: [id]}
  - {dataset: planes}
features:
  - {name: seats, source: planes, kind: lookup, key: [tail], column: seats}
  - {name: late_3h, source: flights, kind: window, key: [carrier], column: late, over: 3h, function: mean}
  - {name: flights_24h, source: flights, kind: window, key: [carrier], over: 24h, function: count}
  - {name: last_late, source: flights, kind: as_of, key: [carrier], column: late, max_age: 12h}
)";

class FeaturesTest : public testing::Test {
 protected:
  void SetUp() override { open(); }

  void open(Settings settings = {}) {
    close();
    database_ = sql::Database::open(folder_.path() / "db").value();
    events_ = events::Events::create(*database_, clock_).value();
    blobs_ = blobs::LocalStore::create(folder_.path() / "blobs").value();
    tables_ = tables::Tables::create({.folders = {folder_.path()}}).value();
    kv_ = kv::Kv::create(folder_.path() / "kv").value();
    datasets_ =
        datasets::Datasets::create(*database_, *events_, clock_, *blobs_, *tables_, folder_.path() / "cache").value();
    features_ = Features::create(*database_, *events_, clock_, *kv_, *tables_, *datasets_, settings).value();
  }
  void close() {
    features_.reset();
    datasets_.reset();
    kv_.reset();
    tables_.reset();
    blobs_.reset();
    events_.reset();
    database_.reset();
  }

  void add_rows(const std::string& dataset, const Frame& frame, std::vector<std::string> keys = {}) {
    if (!datasets_->get(dataset)) {
      datasets::NewDataset made;
      made.name = dataset;
      made.keys = std::move(keys);
      ASSERT_TRUE(datasets_->add(actor_, made));
    }
    const auto file = folder_.path() / "upload.parquet";
    ASSERT_TRUE(tables_->write_parquet(frame, file));
    const auto version = datasets_->add_version(actor_, dataset, {file, "upload.parquet", datasets::Mode::append});
    ASSERT_TRUE(version) << version.error().text();
  }

  // Flights every 20 minutes; each lands two hours after it is asked about; every ninth never lands.
  static Frame flights(std::int64_t first, std::int64_t last) {
    FrameMaker maker({{"id", Type::text},
                      {"asked_at", Type::time},
                      {"landed_at", Type::time},
                      {"distance", Type::integer},
                      {"carrier", Type::text},
                      {"tail", Type::text},
                      {"late", Type::integer}});
    std::mt19937 random(1);
    for (std::int64_t i = 0; i < last; ++i) {
      const std::int64_t asked = i * 20 * 60'000;
      const std::string carrier(1, static_cast<char>('A' + random() % 3));
      const std::optional<std::string> tail =
          random() % 5 == 0 ? std::nullopt : std::optional(fmt::format("N{}", random() % 4));
      const bool lands = random() % 9 != 0;
      const std::optional<std::int64_t> landed = lands ? std::optional(asked + 2 * kHour) : std::nullopt;
      const std::optional<std::int64_t> late = lands ? std::optional<std::int64_t>(random() % 2) : std::nullopt;
      if (i >= first) maker.row(fmt::format("f{:05}", i), asked, landed, 100 + i, carrier, tail, late);
    }
    return maker.take();
  }
  static Frame planes() {
    FrameMaker maker({{"tail", Type::text}, {"seats", Type::integer}});
    maker.row("N0", 100);
    maker.row("N1", 150);
    maker.row("N2", std::nullopt);
    return maker.take();
  }
  static NewView view() { return json::from_json<NewView>(parse_yaml(kView, "view.yaml").value()).value(); }
  View define() {
    add_rows("flights", flights(0, 300));
    add_rows("planes", planes(), {"tail"});
    return features_->define(actor_, view()).value();
  }
  static TrainingSpec spec() {
    TrainingSpec spec;
    spec.view = "delays";
    spec.dataset = "flights";
    spec.id = {"id"};
    spec.label = "late";
    spec.label_known = "landed_at";
    spec.from_ms = 0;
    spec.to_ms = 4 * kDay;
    return spec;
  }
  static json::Array landed_rows(const Frame& frame) {
    json::Array rows;
    for (const json::Value& row : rows_of(frame)) {
      const json::Object& all = row.get_object();
      if (all.at("landed_at").is_null()) continue;
      json::Object fact;
      for (const char* name : {"id", "landed_at", "carrier", "late"}) fact[name] = all.at(name);
      rows.push_back(fact);
    }
    return rows;
  }
  std::int64_t count_events(std::string_view kind) {
    events::Filter filter;
    filter.kind_prefix = kind;
    return static_cast<std::int64_t>(events_->read(filter).value().size());
  }
  Frame ask(const std::string& carrier, std::int64_t at_ms) {
    return features_
        ->online("delays",
                 features_
                     ->request_frame(
                         "delays", json::Array{json::Object{{"carrier", carrier}, {"tail", "N1"}, {"asked_at", at_ms}}})
                     .value())
        .value();
  }

  TemporaryFolder folder_ = TemporaryFolder::create().value();
  FakeClock clock_{100 * kDay};
  access::Actor actor_ = access::system_actor();
  std::unique_ptr<sql::Database> database_;
  std::unique_ptr<events::Events> events_;
  std::unique_ptr<blobs::Store> blobs_;
  std::unique_ptr<tables::Tables> tables_;
  std::unique_ptr<kv::Kv> kv_;
  std::unique_ptr<datasets::Datasets> datasets_;
  std::unique_ptr<Features> features_;
};

TEST_F(FeaturesTest, ADefinitionIsWrittenOnce) {
  const View first = define();
  EXPECT_EQ(first.number, 1);
  EXPECT_EQ(features_->define(actor_, view())->number, 1);
  EXPECT_EQ(features_->define(actor_, first.definition)->number, 1);  // as it is shown, too
  EXPECT_EQ(count_events("features.view_defined"), 1);
  NewView changed = view();
  changed.refresh = "15m";
  EXPECT_EQ(features_->define(actor_, changed)->number, 2);
  EXPECT_EQ(features_->get("delays")->number, 2);
  EXPECT_EQ(features_->get("delays@1")->definition.refresh, "1h");
  EXPECT_EQ(features_->list()->size(), 1u);
  EXPECT_EQ(features_->versions("delays")->front().number, 2);
  EXPECT_EQ(features_->get("delays@3").error().code, Code::kNotFound);
  EXPECT_EQ(features_->get("delays@x").error().code, Code::kInvalidArgument);
  EXPECT_EQ(features_->versions("other").error().code, Code::kNotFound);
}

TEST_F(FeaturesTest, ATrainingSetHasLabelsThatWereKnown) {
  define();
  const TrainingSet set = features_->training_set(spec()).value();
  EXPECT_EQ(tables::frame_fault(set.frame), "");
  std::vector<std::string> names;
  for (const tables::Column& column : set.frame.columns) names.push_back(column.name);
  EXPECT_THAT(names, testing::ElementsAre("id", "asked_at", "distance", "carrier", "seats", "late_3h", "flights_24h",
                                          "last_late", "late"));
  const auto& at = set.frame.find("asked_at")->integers();
  EXPECT_TRUE(std::ranges::is_sorted(at));
  EXPECT_LT(at.back(), 4 * kDay - 2 * kHour);  // a label that lands at `to` is not known yet
  EXPECT_EQ(set.frame.find("late")->missing(), 0u);
  EXPECT_EQ(static_cast<std::int64_t>(set.frame.rows) + set.unlabelled, 4 * 72);
  ASSERT_EQ(set.datasets.size(), 2u);
  EXPECT_EQ(set.datasets[0].number, 1);

  TrainingSpec later = spec();
  later.known_by_ms = 5 * kDay;
  EXPECT_GT(features_->training_set(later)->frame.rows, set.frame.rows);
  later.label = later.label_known = "";
  EXPECT_EQ(features_->training_set(later)->frame.rows, 4u * 72);
}

// Of several rows with one id the newest known label counts, as far as it was known in time.
TEST_F(FeaturesTest, ALabelThatWasCorrectedCountsOnceKnown) {
  FrameMaker maker({{"key", Type::text}, {"asked_at", Type::time}, {"y", Type::real}, {"y_known", Type::time}});
  maker.row("a", 10, 1.0, 100);
  maker.row("b", 11, std::nan(""), 100);  // not a number is no label
  maker.row("c", 11, std::nullopt, std::nullopt);
  maker.row("a", 10, 2.0, 200);
  maker.row("d", 12, 3.0, 50);
  add_rows("cases", maker.take());
  NewView cases;
  cases.name = "cases";
  cases.at = "asked_at";
  cases.request = {{"key", Type::text, true, {}}};
  ASSERT_TRUE(features_->define(actor_, cases));
  TrainingSpec spec;
  spec.view = spec.dataset = "cases";
  spec.id = {"key"};
  spec.label = "y";
  spec.label_known = "y_known";
  spec.to_ms = 1'000;
  for (const auto& [known_by, label] : {std::pair(200, 1.0), std::pair(201, 2.0)}) {
    spec.known_by_ms = known_by;
    const TrainingSet set = features_->training_set(spec).value();
    ASSERT_EQ(set.frame.rows, 2u);
    EXPECT_EQ(set.unlabelled, 2);
    EXPECT_EQ(set.frame.find("key")->texts()[0], "a");
    EXPECT_EQ(set.frame.find("y")->reals()[0], label);
  }
  spec.known_by_ms = 100;
  EXPECT_EQ(features_->training_set(spec)->frame.find("key")->texts()[0], "d");
}

TEST_F(FeaturesTest, ATrainingSetReadsTheVersionsThatItNames) {
  define();
  const Frame before = features_->training_set(spec())->frame;
  add_rows("flights", flights(300, 400));
  TrainingSpec pinned = spec();
  pinned.to_ms = 6 * kDay;
  const std::size_t newest = features_->training_set(pinned)->frame.rows;
  pinned.versions = {{"flights", 1}};
  const TrainingSet old = features_->training_set(pinned).value();
  EXPECT_LT(old.frame.rows, newest);
  EXPECT_EQ(old.datasets[0].number, 1);
  EXPECT_EQ(json::serialize(rows_of(features_->training_set(spec())->frame)), json::serialize(rows_of(before)));
}

TEST_F(FeaturesTest, RefusesTrainingSetsThatCannotBe) {
  define();
  const auto refused = [&](auto change) {
    TrainingSpec wrong = spec();
    change(wrong);
    return features_->training_set(wrong).error();
  };
  EXPECT_EQ(refused([](TrainingSpec& s) { s.view = "none"; }).code, Code::kNotFound);
  EXPECT_EQ(refused([](TrainingSpec& s) { s.dataset = "none"; }).code, Code::kNotFound);
  EXPECT_THAT(refused([](TrainingSpec& s) { s.label = "delay"; }).message, HasSubstr("delay"));
  EXPECT_THAT(refused([](TrainingSpec& s) { s.label_known = "carrier"; }).message, HasSubstr("carrier"));
  EXPECT_THAT(refused([](TrainingSpec& s) { s.to_ms = s.from_ms; }).message, HasSubstr("empty"));
  EXPECT_THAT(refused([](TrainingSpec& s) { s.label = "distance"; }).message,
              HasSubstr("'distance' is a column of the view"));
  EXPECT_THAT(refused([](TrainingSpec& s) { s.label = "seats"; }).message,
              HasSubstr("'seats' is a column of the view"));
  EXPECT_EQ(refused([](TrainingSpec& s) { s.versions = {{"flights", 9}}; }).code, Code::kNotFound);
}

// What an endpoint would have answered at each asking, hour by hour as flights landed, is the training set bit for bit.
TEST_F(FeaturesTest, OnlineAnswersAreTheTrainingSet) {
  define();
  const Frame all = flights(0, 600);
  NewView same = view();
  ASSERT_TRUE(features_->materialize(actor_, "delays"));
  add_rows("flights", flights(300, 600));
  TrainingSpec everything = spec();
  everything.label = everything.label_known = "";
  everything.from_ms = 5 * kDay;
  everything.to_ms = 9 * kDay;
  const Frame batch = features_->training_set(everything)->frame;
  ASSERT_GT(batch.rows, 200u);

  const json::Array wanted = rows_of(batch);
  std::map<std::string, json::Object> asked;
  for (const json::Value& row : rows_of(all))
    asked[std::string(row.get_object().at("id").get_string())] = row.get_object();
  const json::Array facts = landed_rows(flights(300, 600));
  std::size_t next = 0;
  for (const json::Value& want : wanted) {
    const json::Object& row = want.get_object();
    const std::int64_t at_ms = row.at("asked_at").get_int64();
    json::Array arrived;
    while (next < facts.size() && facts[next].get_object().at("landed_at").get_int64() < at_ms)
      arrived.push_back(facts[next++]);
    ASSERT_TRUE(features_->push("flights", arrived));
    if (at_ms % (7 * kHour) == 0) open();  // a restart changes nothing
    const json::Object& source = asked.at(std::string(row.at("id").get_string()));
    json::Object question{{"asked_at", at_ms}};
    for (const char* name : {"distance", "carrier", "tail"}) question[name] = source.at(name);
    const Frame answer =
        features_->online("delays", features_->request_frame("delays", json::Array{question}).value()).value();
    json::Object got = rows_of(answer)[0].get_object();
    got["id"] = row.at("id");
    got["asked_at"] = at_ms;
    ASSERT_EQ(json::canonical(got), json::canonical(want));
  }
}

TEST_F(FeaturesTest, RowsAreKeptOnceAndNeverChanged) {
  define();
  ASSERT_TRUE(features_->materialize(actor_, "delays"));
  const std::int64_t known = 5 * kDay;
  const json::Object row{{"id", "x1"}, {"landed_at", known}, {"carrier", "A"}, {"late", 1}};
  EXPECT_EQ(features_->push("flights", {row})->added, 1);
  EXPECT_EQ(features_->push("flights", {row, row})->known_already, 2);
  json::Object text_time = row;
  text_time["landed_at"] = "1970-01-06T00:00:00Z";
  EXPECT_EQ(features_->push("flights", {text_time})->known_already, 1);

  json::Object other = row;
  other["late"] = 0;
  const auto differs =
      features_->push("flights", {json::Object{{"id", "x2"}, {"landed_at", known}, {"carrier", "A"}}, other});
  ASSERT_FALSE(differs);
  EXPECT_EQ(differs.error().code, Code::kConflict);
  const std::int64_t before = ask("A", known + kHour).find("flights_24h")->integers()[0];
  EXPECT_EQ(features_->push("flights", {json::Object{{"id", "x2"}, {"landed_at", known}, {"carrier", "A"}}})->added,
            1);  // was not kept
  EXPECT_EQ(ask("A", known + kHour).find("flights_24h")->integers()[0], before + 1);

  other["landed_at"] = known + 1;  // a correction, known later
  EXPECT_EQ(features_->push("flights", {other})->added, 1);
  EXPECT_EQ(ask("A", known + kHour).find("flights_24h")->integers()[0], before + 1);
  EXPECT_EQ(ask("A", known + kHour).find("last_late")->integers()[0], 0);
  open();
  EXPECT_EQ(ask("A", known + kHour).find("last_late")->integers()[0], 0);
}

TEST_F(FeaturesTest, AMaterializedRowHandedInAgainIsKnown) {
  define();
  ASSERT_TRUE(features_->materialize(actor_, "delays"));
  const json::Array facts = landed_rows(flights(200, 300));
  const Pushed again = features_->push("flights", facts).value();
  EXPECT_EQ(again.known_already, static_cast<std::int64_t>(facts.size()));
}

TEST_F(FeaturesTest, LookupsTakeTheLastRow) {
  define();
  ASSERT_TRUE(features_->materialize(actor_, "delays"));
  EXPECT_EQ(ask("A", 5 * kDay).find("seats")->integers()[0], 150);
  EXPECT_EQ(features_->push("planes", {json::Object{{"tail", "N1"}, {"seats", 99}}})->added, 1);
  EXPECT_EQ(ask("A", 5 * kDay).find("seats")->integers()[0], 99);
  open();
  EXPECT_EQ(ask("A", 5 * kDay).find("seats")->integers()[0], 99);
}

TEST_F(FeaturesTest, RefusesBadRowsWhole) {
  define();
  const auto error = [&](json::Object row) {
    const json::Object good{{"id", "ok"}, {"landed_at", kDay}};
    const auto pushed = features_->push("flights", {good, std::move(row)});
    EXPECT_FALSE(pushed);
    return pushed ? "" : pushed.error().message;
  };
  EXPECT_THAT(error({{"id", "a"}}), HasSubstr("rows[1] has no 'landed_at'"));
  EXPECT_THAT(error({{"landed_at", 5}}), HasSubstr("rows[1] has no 'id'"));
  EXPECT_THAT(error({{"id", 7}, {"landed_at", 5}}), HasSubstr("rows[1].id is 7, but the column is text"));
  EXPECT_THAT(error({{"id", "a"}, {"landed_at", "soon"}}), HasSubstr("rows[1].landed_at is \"soon\""));
  EXPECT_THAT(error({{"id", "a"}, {"landed_at", 5}, {"color", "red"}}), HasSubstr("unknown column 'color'"));
  EXPECT_THAT(error({{"id", "a"}, {"landed_at", 200 * kDay}}), HasSubstr("in the future"));
  EXPECT_THAT(error({{"id", "a"}, {"landed_at", 5}, {"late", 1'000'000'000'000'000}}), HasSubstr("too large"));
  EXPECT_EQ(features_->push("flights", {json::Object{{"id", "ok"}, {"landed_at", kDay}}})->added,
            1);  // nothing was kept
  EXPECT_EQ(features_->push("boats", {}).error().code, Code::kFailedPrecondition);
}

TEST_F(FeaturesTest, HasLimits) {
  open({.push_rows_max = 2, .request_rows_max = 2});
  define();
  ASSERT_TRUE(features_->materialize(actor_, "delays"));
  const auto rows = [](int many) {
    json::Array out;
    for (int i = 0; i < many; ++i) out.push_back(json::Object{{"id", std::to_string(i)}, {"landed_at", 6 * kDay}});
    return out;
  };
  EXPECT_EQ(features_->push("flights", rows(2))->added, 2);
  EXPECT_EQ(features_->push("flights", rows(3)).error().code, Code::kTooLarge);
  const auto asked = [&](std::size_t many) {
    return features_->request_frame("delays", json::Array(many, json::Object{})).value();
  };
  EXPECT_TRUE(features_->online("delays", asked(2)));
  EXPECT_EQ(features_->online("delays", asked(3)).error().code, Code::kTooLarge);
}

TEST_F(FeaturesTest, AnswersOnlyOnceMaterialized) {
  define();
  const Frame request = features_->request_frame("delays", {json::Object{}}).value();
  EXPECT_EQ(features_->online("delays", request).error().reason, "features.not_materialized");
  EXPECT_EQ(features_->online("none", request).error().code, Code::kNotFound);
  const Materialized made = features_->materialize(actor_, "delays", {{"flights", 1}}).value();
  EXPECT_EQ(made.sources[0].number, 1);
  EXPECT_GT(made.sources[0].rows, 0);
  EXPECT_EQ(made.sources[1].rows, 3);
  EXPECT_EQ(count_events("features.materialized"), 1);
  EXPECT_TRUE(features_->online("delays", request));
  Frame lacking = request;
  std::erase_if(lacking.columns, [](const tables::Column& column) { return column.name == "tail"; });
  EXPECT_THAT(features_->online("delays", lacking).error().message, HasSubstr("no column 'tail'"));
  const std::vector<std::int64_t> two_times{1, 2};
  EXPECT_EQ(features_->online("delays", request, two_times).error().code, Code::kInvalidArgument);
  EXPECT_EQ(features_->materialize(actor_, "delays", {{"boats", 1}}).error().code, Code::kInvalidArgument);
  // A new number that was not materialized yet does not take the answers away.
  NewView changed = view();
  changed.refresh = "2h";
  ASSERT_EQ(features_->define(actor_, changed)->number, 2);
  EXPECT_TRUE(features_->online("delays", request));
  EXPECT_EQ(features_->online("delays@2", request).error().reason, "features.not_materialized");
}

TEST_F(FeaturesTest, DropsWhatNoViewCanSeeAndSaysSo) {
  open({.slack_ms = 2 * kDay});
  define();
  ASSERT_TRUE(features_->materialize(actor_, "delays"));
  const Frame far = ask("A", 4 * kDay);
  ASSERT_TRUE(features_->push("flights", {json::Object{{"id", "y"}, {"landed_at", 20 * kDay}, {"carrier", "A"}}}));
  Frame request = features_->request_frame("delays", {json::Object{{"carrier", "A"}, {"asked_at", 17 * kDay}}}).value();
  EXPECT_EQ(features_->online("delays", request).error().reason, "features.too_old");
  open({.slack_ms = 2 * kDay});
  EXPECT_EQ(features_->online("delays", request).error().reason, "features.too_old");
  EXPECT_EQ(ask("A", 20 * kDay + kHour).find("flights_24h")->integers()[0], 1);
  EXPECT_EQ(features_->push("flights", {json::Object{{"id", "z"}, {"landed_at", 4 * kDay}}})->expired, 1);
  std::size_t rows = 0;
  ASSERT_TRUE(
      kv_->scan_prefix("rflights", [&](std::string_view, std::string_view) -> Result<bool> { return ++rows > 0; }));
  EXPECT_EQ(rows, 1u);
}

TEST_F(FeaturesTest, TheStepWritesSplitFilesAndLineage) {
  define();
  const auto outputs = folder_.path() / "outputs";
  ASSERT_TRUE(make_folder(outputs));
  json::Object with{{"view", "delays"},
                    {"dataset", "flights"},
                    {"id", json::Array{"id"}},
                    {"label", "late"},
                    {"label_known", "landed_at"},
                    {"from", "1970-01-01T00:00:00Z"},
                    {"to", std::to_string(4 * kDay)},
                    {"split", 3 * kDay},
                    {"known_by", 5 * kDay}};
  const json::Object result = features_->training_set_step(with, outputs).value();
  const Frame train = tables_->read_files({outputs / "train.parquet"}).value();
  const Frame newest = tables_->read_files({outputs / "newest.parquet"}).value();
  EXPECT_EQ(result.at("train_rows").to_number<std::size_t>(), train.rows);
  EXPECT_EQ(result.at("newest_rows").to_number<std::size_t>(), newest.rows);
  EXPECT_EQ(result.at("rows").to_number<std::size_t>(), train.rows + newest.rows);
  EXPECT_LT(train.find("asked_at")->integers().back(), 3 * kDay);
  EXPECT_GE(newest.find("asked_at")->integers().front(), 3 * kDay);
  EXPECT_EQ(json::serialize(result.at("datasets")),
            R"([{"dataset":"flights","number":1},{"dataset":"planes","number":1}])");
  EXPECT_EQ(result.at("columns").get_array().size(), 6u);
  std::int64_t late = 0;
  for (const Frame* frame : {&train, &newest}) {
    for (const std::int64_t value : frame->find("late")->integers()) late += value;
  }
  EXPECT_EQ(result.at("positives").get_int64(), late);

  const auto refused = [&](std::string_view field, json::Value value) {
    json::Object wrong = with;
    wrong[field] = std::move(value);
    return features_->training_set_step(wrong, outputs).error().message;
  };
  EXPECT_THAT(refused("from", "yesterday"), HasSubstr("with.from is \"yesterday\""));
  EXPECT_THAT(refused("to", nullptr), HasSubstr("with.to is missing"));
  EXPECT_THAT(refused("split", 9 * kDay), HasSubstr("with.split"));
  EXPECT_THAT(refused("span", 1), HasSubstr("span"));
  EXPECT_THAT(refused("view", ""), HasSubstr("with.view is missing"));
  EXPECT_THAT(refused("known_by", 1), HasSubstr("0 rows to train on"));
  EXPECT_NE(refused("outputs", json::Object{{"train", "../escape.parquet"}}), "");
}

TEST_F(FeaturesTest, AnswersWhileRowsArrive) {
  define();
  ASSERT_TRUE(features_->materialize(actor_, "delays"));
  std::atomic<bool> done = false;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> readers;
  for (int t = 0; t < 3; ++t) {
    readers.emplace_back([&] {
      std::int64_t before = 0;
      while (!done) {
        const std::int64_t now = ask("A", 6 * kDay).find("flights_24h")->integers()[0];
        if (now < before) ++wrong;
        before = now;
      }
    });
  }
  for (int i = 0; i < 60; ++i) {
    const json::Object row{{"id", fmt::format("p{}", i)}, {"landed_at", 6 * kDay - kHour}, {"carrier", "A"}};
    if (features_->push("flights", {row})->added != 1) ++wrong;
    if (i == 30 && !features_->materialize(actor_, "delays")) ++wrong;
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace tidemill::features
