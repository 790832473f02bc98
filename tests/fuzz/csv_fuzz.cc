// Any bytes as CSV: refused with a line, or read in the same way twice, whole and sound.
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/enums.h"
#include "storage/tables/csv.h"
#include "storage/tables/utf8.h"

namespace {

using namespace tidemill;
using namespace tidemill::tables;

void must(bool condition) {
  if (!condition) std::abort();
}

void check_read(const std::filesystem::path& file, const std::vector<ColumnType>& columns, const CsvOptions& options,
                std::uint64_t rows) {
  std::uint64_t read = 0;
  const auto done = read_csv(file, columns, options, 7, [&](const Frame& batch) -> Result<void> {
    must(frame_fault(batch).empty());
    for (const auto& column : batch.columns) {
      for (std::size_t row = 0; column.type == Type::text && row < batch.rows; ++row) {
        must(first_bad_utf8(column.texts()[row]) == std::string_view::npos);
      }
    }
    read += batch.rows;
    return {};
  });
  must(done.has_value());  // what was scanned can be read with the types that were found
  must(read == rows);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const int memory = memfd_create("csv", 0);
  static const std::filesystem::path file = "/proc/self/fd/" + std::to_string(memory);
  if (ftruncate(memory, 0) != 0 || pwrite(memory, data, size, 0) != static_cast<ssize_t>(size)) return 0;
  CsvOptions options;
  options.columns_max = 8;
  options.cell_bytes_max = 64;
  options.row_bytes_max = 512;
  options.read_bytes = 512;
  const auto shape = scan_csv(file, options);
  options.read_bytes = 16;
  const auto again = scan_csv(file, options);
  must(shape.has_value() == again.has_value());
  if (!shape) {
    must(shape.error().code == Code::kInvalidArgument && !shape.error().remedy.empty());
    must(shape.error().reason == again.error().reason && shape.error().message == again.error().message);
    return 0;
  }
  must(shape->columns == again->columns && shape->rows == again->rows && shape->values == again->values);
  check_read(file, shape->columns, options, shape->rows);
  auto all_text = shape->columns;
  for (auto& column : all_text) column.type = Type::text;
  check_read(file, all_text, options, shape->rows);
  return 0;
}
