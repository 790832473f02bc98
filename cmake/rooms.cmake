# The rooms of src/ORDER as CMake targets.
#
#   tidemill_room(flow/runs DEPS base storage/sql events [LIBS targets...] [SQL schema.sql] [PUBLIC headers...]
#                 [TEST_DEPS rooms...] [TEST_LIBS targets...] [TESTED_BY folders...])
#
# makes the static library tidemill_flow_runs of every .cc of this folder, and of *_test.cc the program
# flow_runs_test with one ctest entry. A room below this one in ORDER cannot be named in DEPS. PUBLIC names headers of a
# flow room that others may include beyond types.h, events.h and runs.h; only tools/tidy reads it, and TESTED_BY, where
# a room is tested from outside instead of by *_test.cc. SQL makes
#   #include "flow/runs/schema.sql.h"     // tidemill::runs::kSchemaSql, a std::string_view
#
#   tidemill_program(server DEPS ...)  makes the program build/tidemill of the room that holds main.cc.

# tidemill_target(OUT ROOM): the target's name, tidemill_flow_runs for flow/runs.
function(tidemill_target out room)
  string(REPLACE "/" "_" flat "${room}")
  set(${out} "tidemill_${flat}" PARENT_SCOPE)
endfunction()

# Adds every room of src/ORDER that has a CMakeLists.txt, from source to mouth.
function(tidemill_add_rooms src)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${src}/ORDER")
  file(STRINGS "${src}/ORDER" lines REGEX "^[a-z]")
  foreach(room IN LISTS lines)
    string(STRIP "${room}" room)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${src}/${room}")
    if(EXISTS "${src}/${room}/CMakeLists.txt")
      set(TIDEMILL_ROOM "${room}")
      add_subdirectory("${src}/${room}" "${CMAKE_BINARY_DIR}/src/${room}")
    else()
      message(STATUS "src/${room} has no CMakeLists.txt yet")
    endif()
  endforeach()
endfunction()

# tidemill_dep_targets(OUT ROOM DEPS...): the targets of the rooms named; fails where one does not exist (yet).
function(tidemill_dep_targets out room)
  set(targets "")
  foreach(dep IN LISTS ARGN)
    tidemill_target(target "${dep}")
    if(NOT TARGET ${target})
      message(FATAL_ERROR "src/${room} depends on ${dep}, which does not stand above it in src/ORDER "
                          "(or has no CMakeLists.txt). "
                          "If ORDER seems to need an exception, the missing thing is an event.")
    endif()
    list(APPEND targets ${target})
  endforeach()
  set(${out} "${targets}" PARENT_SCOPE)
endfunction()

# tidemill_embed_sql(ROOM FILE): generated/<room>/<file>.h with the text as <namespace>::kSchemaSql.
function(tidemill_embed_sql room file)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/${file}")
  file(READ "${CMAKE_CURRENT_SOURCE_DIR}/${file}" TIDEMILL_SQL)
  get_filename_component(TIDEMILL_NAMESPACE "${room}" NAME)
  configure_file("${CMAKE_SOURCE_DIR}/cmake/schema.sql.h.in" "${CMAKE_BINARY_DIR}/generated/${room}/${file}.h" @ONLY)
endfunction()

function(tidemill_room_test room library)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "" "DEPS;LIBS")
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*_test.cc")
  if(NOT TIDEMILL_TESTS OR NOT sources)
    return()
  endif()
  string(REPLACE "/" "_" flat "${room}")
  set(test ${flat}_test)
  tidemill_dep_targets(deps "${room}" ${arg_DEPS})
  add_executable(${test} ${sources})
  target_link_libraries(${test} PRIVATE tidemill::flags ${library} ${deps} ${arg_LIBS} rapidcheck
                                        GTest::gtest GTest::gmock GTest::gtest_main Threads::Threads)
  target_compile_definitions(${test} PRIVATE TIDEMILL_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  set_target_properties(${test} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  add_test(NAME ${test} COMMAND ${test} WORKING_DIRECTORY "${CMAKE_BINARY_DIR}/tests")
  set_tests_properties(${test} PROPERTIES TIMEOUT 300)
endfunction()

function(tidemill_room room)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "SQL" "DEPS;LIBS;PUBLIC;TEST_DEPS;TEST_LIBS;TESTED_BY")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "tidemill_room(${room}): unknown arguments ${arg_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT room STREQUAL TIDEMILL_ROOM)
    message(FATAL_ERROR "src/${TIDEMILL_ROOM}/CMakeLists.txt declares the room ${room}")
  endif()
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cc")
  list(FILTER sources EXCLUDE REGEX "(_test|_fuzz|/main)\\.cc$")
  tidemill_target(target "${room}")
  tidemill_dep_targets(deps "${room}" ${arg_DEPS})
  if(arg_SQL)
    tidemill_embed_sql("${room}" "${arg_SQL}")
  endif()
  if(sources)
    add_library(${target} STATIC ${sources})
    target_link_libraries(${target} PUBLIC tidemill::flags ${deps} ${arg_LIBS} Threads::Threads)
  else()
    add_library(${target} INTERFACE)
    target_link_libraries(${target} INTERFACE tidemill::flags ${deps} ${arg_LIBS} Threads::Threads)
  endif()
  tidemill_room_test("${room}" ${target} DEPS ${arg_TEST_DEPS} LIBS ${arg_TEST_LIBS})
endfunction()

# The program of the room `room`: its main.cc, linked with the room itself.
function(tidemill_program room)
  tidemill_target(target "${room}")
  add_executable(tidemill "${CMAKE_CURRENT_SOURCE_DIR}/main.cc")
  target_link_libraries(tidemill PRIVATE tidemill::flags ${target})
  set_target_properties(tidemill PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}")
endfunction()
