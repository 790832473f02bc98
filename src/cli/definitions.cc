// Definition files: YAML or JSON in, JSON out.
#include <iostream>
#include <iterator>

#include "base/files.h"
#include "base/yaml.h"
#include "cli/command.h"

namespace tidemill::cli {

constexpr std::uint64_t kDefinitionBytesMax = 4u << 20;

Result<json::Value> read_definition(const std::string& file) {
  const std::string text = file == "-" ? std::string(std::istreambuf_iterator<char>(std::cin), {})
                                       : TM_TRY(read_file(file, kDefinitionBytesMax));
  return file.ends_with(".json") ? json::parse(text) : parse_yaml(text, file);
}

}  // namespace tidemill::cli
