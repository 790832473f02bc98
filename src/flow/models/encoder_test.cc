#include "flow/models/encoder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "flow/models/baselines.h"

namespace tidemill::models {
namespace {

using tables::Type;

tables::Column column(std::string name, Type type, tables::Values values, std::vector<std::uint8_t> valid = {}) {
  return {std::move(name), type, std::move(values), std::move(valid)};
}

Encoder make(std::vector<ColumnSpec> columns) { return Encoder::create(std::move(columns)).value(); }

const std::vector<ColumnSpec> kColumns = {{"hour", ColumnKind::number, {}, Missing::nan},
                                          {"carrier", ColumnKind::category, {"AA", "UA", "é"}, Missing::nan},
                                          {"origin", ColumnKind::category, {"JFK"}, Missing::code}};

TEST(Encoder, PutsEachValueWhereTheModelExpectsIt) {
  tables::Frame frame{{column("origin", Type::text, std::vector<std::string>{"JFK", "LGA", ""}, {1, 1, 0}),
                       column("hour", Type::integer, std::vector<std::int64_t>{5, -7, 0}, {1, 1, 0}),
                       column("unused", Type::real, std::vector<double>{1, 2, 3}),
                       column("carrier", Type::text, std::vector<std::string>{"é", "AA", "ZZ"})},
                      3};
  const auto matrix = make(kColumns).encode(frame).value();
  EXPECT_EQ(matrix[0], 5);
  EXPECT_EQ(matrix[1], 2);
  EXPECT_EQ(matrix[2], 0);
  EXPECT_EQ(matrix[3], -7);
  EXPECT_EQ(matrix[4], 0);
  EXPECT_EQ(matrix[5], -1);  // unknown, `missing: code`
  EXPECT_TRUE(std::isnan(matrix[6]));
  EXPECT_TRUE(std::isnan(matrix[7]));  // unknown, `missing: nan`
  EXPECT_EQ(matrix[8], -1);            // missing
}

TEST(Encoder, SingleValuesAreEncodedAsFramesAre) {
  const Encoder encoder = make(kColumns);
  EXPECT_EQ(encoder.category(1, "UA"), 1);
  EXPECT_TRUE(std::isnan(encoder.category(1, "ua")));
  EXPECT_EQ(encoder.category(2, "x"), -1);
  EXPECT_EQ(encoder.code(2, "x"), -2);
  EXPECT_EQ(encoder.number(0, 0.1), 0.1F);
  EXPECT_TRUE(std::isnan(encoder.number(0, std::nan(""))));
  EXPECT_EQ(encoder.find("origin"), 2u);
  EXPECT_FALSE(encoder.find("Origin"));
}

TEST(Encoder, NumbersAndBooleansCanBeCategories) {
  const Encoder encoder = make({{"month", ColumnKind::category, {"1", "12"}, Missing::code},
                                {"on", ColumnKind::category, {"false", "true"}, Missing::code}});
  const tables::Frame integers{{column("month", Type::integer, std::vector<std::int64_t>{12, 2}),
                                column("on", Type::boolean, std::vector<std::uint8_t>{1, 0})},
                               2};
  EXPECT_EQ(encoder.encode(integers).value(), (std::vector<float>{1, 1, -1, 0}));
  const tables::Frame reals{{column("month", Type::real, std::vector<double>{12, std::nan("")}),
                             column("on", Type::boolean, std::vector<std::uint8_t>{0, 0}, {1, 0})},
                            2};
  EXPECT_EQ(encoder.encode(reals).value(), (std::vector<float>{1, 0, -1, -1}));
}

TEST(Encoder, NamesWhatItCannotTake) {
  const Encoder encoder = make({{"hour"}});
  const auto refusal = [&](tables::Column c, std::size_t rows) {
    return encoder.encode({{std::move(c)}, rows}).error().message;
  };
  EXPECT_NE(refusal(column("Hour", Type::real, std::vector<double>{1}), 1).find("no column 'hour'"), std::string::npos);
  EXPECT_NE(refusal(column("hour", Type::text, std::vector<std::string>{"1"}), 1).find("is text"), std::string::npos);
  EXPECT_NE(refusal(column("hour", Type::real, std::vector<double>{0, 1e39}), 2).find("row 1 is 1e+39"),
            std::string::npos);
  EXPECT_NE(refusal(column("hour", Type::real, std::vector<double>{-std::numeric_limits<double>::infinity()}), 1)
                .find("row 0"),
            std::string::npos);
  std::vector<float> wrong(2);
  EXPECT_FALSE(encoder.encode({{column("hour", Type::real, std::vector<double>{1})}, 1}, wrong));
}

TEST(Encoder, RefusesBadColumns) {
  const auto refusal = [](std::vector<ColumnSpec> columns) {
    return Encoder::create(std::move(columns)).error().message;
  };
  EXPECT_NE(refusal({}).find("no columns"), std::string::npos);
  EXPECT_NE(refusal({{""}}).find("columns[0]"), std::string::npos);
  EXPECT_NE(refusal({{"a"}, {"b"}, {"a"}}).find("'a' is listed twice"), std::string::npos);
  EXPECT_NE(refusal({{"a", ColumnKind::category}}).find("without categories"), std::string::npos);
  EXPECT_NE(refusal({{"a", ColumnKind::category, {"x", "y", "x"}}}).find("listed twice"), std::string::npos);
  EXPECT_NE(refusal({{"a", ColumnKind::number, {"x"}}}).find("number with categories"), std::string::npos);
}

TEST(BinaryLabels, TakeTheUsualSpellingsAndNameTheRowThatIsNone) {
  const auto labels = [](tables::Column c, std::size_t rows) { return binary_labels({{std::move(c)}, rows}, "late"); };
  const std::vector<std::uint8_t> expected{1, 0};
  EXPECT_EQ(labels(column("late", Type::boolean, std::vector<std::uint8_t>{1, 0}), 2).value(), expected);
  EXPECT_EQ(labels(column("late", Type::integer, std::vector<std::int64_t>{1, 0}), 2).value(), expected);
  EXPECT_EQ(labels(column("late", Type::real, std::vector<double>{1, 0}), 2).value(), expected);
  EXPECT_EQ(labels(column("late", Type::text, std::vector<std::string>{"true", "0"}), 2).value(), expected);
  EXPECT_NE(
      labels(column("late", Type::integer, std::vector<std::int64_t>{1, 2}), 2).error().message.find("row 1 is 2"),
      std::string::npos);
  EXPECT_NE(
      labels(column("late", Type::real, std::vector<double>{1, 0}, {1, 0}), 2).error().message.find("row 1 is missing"),
      std::string::npos);
  EXPECT_NE(labels(column("late", Type::text, std::vector<std::string>{"yes"}), 1).error().message.find("'yes'"),
            std::string::npos);
  EXPECT_FALSE(labels(column("early", Type::real, std::vector<double>{1}), 1));
}

TEST(Baselines, OfAFrameAndItsDrift) {
  const Encoder encoder = make(kColumns);
  const auto frame = [](std::int64_t shift, const std::string& carrier) {
    std::vector<std::int64_t> hours;
    for (std::int64_t i = 0; i < 200; ++i) hours.push_back(i % 24 + shift);
    return tables::Frame{
        {column("hour", Type::integer, hours), column("carrier", Type::text, std::vector<std::string>(200, carrier)),
         column("origin", Type::text, std::vector<std::string>(200, "JFK"))},
        200};
  };
  const auto baseline = build_baseline(encoder, frame(0, "AA"), std::vector<double>(200, 0.5)).value();
  ASSERT_EQ(baseline.features.size(), 3u);
  EXPECT_EQ(baseline.find("carrier")->counts, (std::vector<std::int64_t>{200, 0, 0, 0}));
  EXPECT_EQ(baseline.score->rows, 200);
  const auto none = measure_drift(baseline, encoder, frame(0, "AA")).value();
  for (const auto& drift : none) EXPECT_LT(drift.psi, 1e-9) << drift.feature;
  const auto drifts = measure_drift(baseline, encoder, frame(30, "ZZ")).value();
  EXPECT_GT(drifts[0].psi, 0.25);
  EXPECT_EQ(drifts[0].ks, 1.0);
  EXPECT_GT(drifts[1].psi, 0.25);
  EXPECT_LT(drifts[2].psi, 1e-9);
  // what travels as JSON measures the same
  const auto travelled = json::decode<statistics::Baseline>(json::encode(baseline)).value();
  EXPECT_EQ(json::encode(measure_drift(travelled, encoder, frame(1, "UA")).value()),
            json::encode(measure_drift(baseline, encoder, frame(1, "UA")).value()));
}

}  // namespace
}  // namespace tidemill::models
