# tidemill::flags: what every target of ours is compiled and linked with.
add_library(tidemill_flags INTERFACE)
add_library(tidemill::flags ALIAS tidemill_flags)

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-Og -g")

target_include_directories(tidemill_flags INTERFACE "${CMAKE_SOURCE_DIR}/src" "${CMAKE_BINARY_DIR}/generated")
target_compile_options(
  tidemill_flags
  INTERFACE -Wall -Wextra -Wshadow -Wconversion -Wnon-virtual-dtor -Woverloaded-virtual -Wimplicit-fallthrough
            -Wcast-align -Wextra-semi -Wvla -Wformat=2 -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC bug 105651: false alarms about std::string's operator+.
  target_compile_options(tidemill_flags INTERFACE -Wlogical-op -Wduplicated-cond -Wno-restrict -fdiagnostics-color=auto)
endif()
if(TIDEMILL_WERROR)
  target_compile_options(tidemill_flags INTERFACE -Werror)
endif()

# Hardening. The bounds checks of the standard library stay on in every build.
target_compile_definitions(tidemill_flags INTERFACE _GLIBCXX_ASSERTIONS)
target_compile_options(tidemill_flags INTERFACE -fstack-protector-strong -fstack-clash-protection -fcf-protection)
target_link_options(tidemill_flags INTERFACE -Wl,-z,relro,-z,now,-z,noexecstack)
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT TIDEMILL_SANITIZE)
  target_compile_options(tidemill_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
endif()
set(CMAKE_EXE_LINKER_FLAGS "${CMAKE_EXE_LINKER_FLAGS} -pie")

if(TIDEMILL_SANITIZE)
  target_compile_options(tidemill_flags INTERFACE -fsanitize=${TIDEMILL_SANITIZE} -fno-omit-frame-pointer
                                                  -fno-sanitize-recover=all)
  target_link_options(tidemill_flags INTERFACE -fsanitize=${TIDEMILL_SANITIZE})
endif()
