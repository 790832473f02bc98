# tidemill_embed_console(TARGET): puts the files of web/dist into the target, for
#   #include "server/console_assets.h"     // tidemill::server::console_assets()
# Without web/dist the list is empty, and the server says so on its page.
function(tidemill_embed_console target)
  set(dist "${CMAKE_SOURCE_DIR}/web/dist")
  file(GLOB_RECURSE files CONFIGURE_DEPENDS RELATIVE "${dist}" "${dist}/*")
  set(symbols "")
  set(rows "")
  set(paths "")
  set(number 0)
  foreach(file IN LISTS files)
    string(APPEND symbols "TIDEMILL_EMBED(${number}, \"${dist}/${file}\")\n")
    string(APPEND rows "    asset(\"${file}\", tidemill_asset_${number}, tidemill_asset_end_${number}),\n")
    list(APPEND paths "${dist}/${file}")
    math(EXPR number "${number} + 1")
  endforeach()
  set(source "${CMAKE_BINARY_DIR}/generated/server/console_assets.cc")
  file(CONFIGURE OUTPUT "${source}" @ONLY CONTENT [=[// Made by cmake/console.cmake from web/dist.
#include "server/console_assets.h"

#include <array>

// The assembler copies the file as it is: no compiler has to read megabytes of numbers.
#define TIDEMILL_EMBED(number, path)                                                             \
  asm(".pushsection .rodata\n.balign 16\n"                                                       \
      ".globl tidemill_asset_" #number "\n.hidden tidemill_asset_" #number "\n"                  \
      "tidemill_asset_" #number ":\n.incbin \"" path "\"\n"                                      \
      ".globl tidemill_asset_end_" #number "\n.hidden tidemill_asset_end_" #number "\n"          \
      "tidemill_asset_end_" #number ":\n.byte 0\n.popsection\n");                                \
  extern "C" __attribute__((visibility("hidden"))) const char tidemill_asset_##number[];         \
  extern "C" __attribute__((visibility("hidden"))) const char tidemill_asset_end_##number[];

@symbols@
namespace tidemill::server {
namespace {

[[maybe_unused]] rest::Asset asset(const char* path, const char* begin, const char* end) {
  return {path, {begin, static_cast<std::size_t>(end - begin)}};
}

}  // namespace

std::span<const rest::Asset> console_assets() {
  static const std::array<rest::Asset, @number@> kAssets{{
@rows@  }};
  return kAssets;
}

}  // namespace tidemill::server
]=])
  target_sources(${target} PRIVATE "${source}")
  set_property(SOURCE "${source}" APPEND PROPERTY OBJECT_DEPENDS "${paths}")
endfunction()
