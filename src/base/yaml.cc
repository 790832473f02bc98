#include "base/yaml.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <charconv>
#include <cmath>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

namespace tidemill {
namespace {

constexpr std::size_t kBytesMax = 4u << 20;
constexpr std::size_t kDepthMax = 64;

template <class T>
std::optional<T> whole(std::string_view text) {
  T value{};
  if (text.starts_with('+')) text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

enum class Scalars { core_schema, text };

json::Value plain_scalar(const std::string& text, Scalars scalars) {
  if (text == "null" || text == "Null" || text == "NULL" || text == "~" || text.empty()) return nullptr;
  if (scalars == Scalars::text) return json::Value(boost::json::string(text));
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  if (const auto number = whole<std::int64_t>(text)) return *number;
  // from_chars also reads "inf" and "nan"; JSON has no such numbers, so they stay text.
  if (const auto number = whole<double>(text); number && std::isfinite(*number)) return *number;
  return json::Value(boost::json::string(text));
}

struct Refusal {
  int line;
  std::string what;
};

// Builds the value while yaml-cpp reads, so that an alias is refused before anything is multiplied.
class Builder final : public YAML::EventHandler {
 public:
  Builder(json::Value& root, Scalars scalars) : root_(root), scalars_(scalars) {}

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    check(mark, "", anchor);
    add(mark, nullptr);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { throw Refusal{mark.line, "an alias is not allowed"}; }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& text) override {
    check(mark, tag, anchor);
    if (wants_key()) {
      take_key(mark, text);
    } else {
      add(mark, tag == "!" ? json::Value(boost::json::string(text)) : plain_scalar(text, scalars_));
    }
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    check(mark, tag, anchor);
    open(mark, json::Array());
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    check(mark, tag, anchor);
    open(mark, json::Object());
  }
  void OnMapEnd() override { close(); }

 private:
  struct Level {
    json::Value value;
    std::optional<std::string> key;
    int line;
  };

  [[nodiscard]] bool wants_key() const { return !open_.empty() && open_.back().value.is_object() && !open_.back().key; }

  static void check(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    if (anchor != 0) throw Refusal{mark.line, "an anchor is not allowed"};
    if (!tag.empty() && tag != "?" && tag != "!") throw Refusal{mark.line, "the tag '" + tag + "' is not allowed"};
  }

  void take_key(const YAML::Mark& mark, const std::string& text) {
    if (open_.back().value.get_object().contains(text)) throw Refusal{mark.line, "the key '" + text + "' stands twice"};
    open_.back().key = text;
  }

  void add(const YAML::Mark& mark, json::Value value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return;
    }
    Level& level = open_.back();
    if (level.value.is_array()) {
      level.value.get_array().push_back(std::move(value));
    } else if (level.key) {
      level.value.get_object()[*level.key] = std::move(value);
      level.key.reset();
    } else {
      throw Refusal{mark.line, "a key must be plain text"};
    }
  }

  void open(const YAML::Mark& mark, json::Value value) {
    if (wants_key()) throw Refusal{mark.line, "a key must be plain text"};
    if (open_.size() >= kDepthMax) throw Refusal{mark.line, "it is nested too deeply"};
    open_.push_back({std::move(value), std::nullopt, mark.line});
  }

  void close() {
    Level level = std::move(open_.back());
    open_.pop_back();
    YAML::Mark mark;
    mark.line = level.line;
    add(mark, std::move(level.value));
  }

  json::Value& root_;
  const Scalars scalars_;
  std::vector<Level> open_;
};

std::unexpected<Error> refuse(std::string_view file, int line, const std::string& what) {
  return fail(Code::kInvalidArgument, "yaml.malformed", fmt::format("{}:{}: {}.", file, line + 1, what),
              "Correct that line.", {{"file", std::string(file)}, {"line", std::to_string(line + 1)}, {"cause", what}});
}

Result<json::Value> parse(std::string_view text, std::string_view file, Scalars scalars) {
  if (text.size() > kBytesMax) {
    return fail(Code::kTooLarge, "yaml.too_large",
                fmt::format("{} has {} bytes; the limit is {}.", file, text.size(), kBytesMax), "Split it.");
  }
  std::istringstream stream{std::string(text)};
  json::Value root;
  Builder builder(root, scalars);
  try {
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    json::Value second;
    Builder more(second, scalars);
    if (parser.HandleNextDocument(more)) return refuse(file, 0, "it holds more than one document");
  } catch (const Refusal& refusal) {
    return refuse(file, refusal.line, refusal.what);
  } catch (const YAML::Exception& caught) {
    return refuse(file, caught.mark.line, caught.msg);
  }
  return root;
}

}  // namespace

Result<json::Value> parse_yaml(std::string_view text, std::string_view file) {
  return parse(text, file, Scalars::core_schema);
}

Result<json::Value> parse_yaml_as_text(std::string_view text, std::string_view file) {
  return parse(text, file, Scalars::text);
}

}  // namespace tidemill
