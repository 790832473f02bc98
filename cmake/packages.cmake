# Everything from outside. Rooms name these targets in LIBS; nothing here is linked unless a room asks for it.
#
#   Boost::headers (Asio, Beast, Describe) Boost::json Boost::url   fmt::fmt spdlog::spdlog
#   OpenSSL::Crypto OpenSSL::SSL
#   SQLite::SQLite3   CURL::libcurl   LibArchive::LibArchive   yaml-cpp   CLI11::CLI11   prometheus-cpp::core
#   simdjson::simdjson   ZLIB::ZLIB
#   PkgConfig::sodium PkgConfig::lmdb PkgConfig::zstd PkgConfig::xxhash   duckdb::duckdb   onnxruntime::onnxruntime
set(Boost_NO_WARN_NEW_VERSIONS ON)
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
find_package(Boost 1.81 REQUIRED COMPONENTS json url)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(CURL REQUIRED)
find_package(LibArchive REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(CLI11 REQUIRED)
find_package(prometheus-cpp REQUIRED)
find_package(simdjson REQUIRED)
find_package(ZLIB REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(sodium REQUIRED IMPORTED_TARGET libsodium)
pkg_check_modules(lmdb REQUIRED IMPORTED_TARGET lmdb)
pkg_check_modules(zstd REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)

# tidemill_native(NAMESPACE LIBRARY HEADER): an imported shared library out of TIDEMILL_DEPS.
function(tidemill_native name library header)
  foreach(file IN ITEMS "lib/${library}" "include/${header}")
    if(NOT EXISTS "${TIDEMILL_DEPS}/${file}")
      message(FATAL_ERROR "${TIDEMILL_DEPS}/${file} is missing. "
                          "Run tools/setup, or set TIDEMILL_DEPS to where it put them.")
    endif()
  endforeach()
  add_library(${name}::${name} SHARED IMPORTED GLOBAL)
  set_target_properties(
    ${name}::${name} PROPERTIES IMPORTED_LOCATION "${TIDEMILL_DEPS}/lib/${library}"
                                INTERFACE_INCLUDE_DIRECTORIES "${TIDEMILL_DEPS}/include")
endfunction()
tidemill_native(duckdb libduckdb.so duckdb.h)
tidemill_native(onnxruntime libonnxruntime.so.1.32.0 onnxruntime_c_api.h)
set_target_properties(onnxruntime::onnxruntime PROPERTIES IMPORTED_SONAME libonnxruntime.so.1)

if(TIDEMILL_TESTS)
  find_package(GTest REQUIRED)
endif()
