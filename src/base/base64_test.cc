#include "base/base64.h"

#include <gtest/gtest.h>

#include <array>
#include <utility>

namespace tidemill {
namespace {

// RFC 4648, section 10.
constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kVectors{{{"", ""},
                                                                                 {"f", "Zg=="},
                                                                                 {"fo", "Zm8="},
                                                                                 {"foo", "Zm9v"},
                                                                                 {"foob", "Zm9vYg=="},
                                                                                 {"fooba", "Zm9vYmE="},
                                                                                 {"foobar", "Zm9vYmFy"}}};

TEST(Base64, WritesAndReadsTheVectorsOfTheRfc) {
  for (const auto& [bytes, text] : kVectors) {
    EXPECT_EQ(encode_base64(bytes), text);
    EXPECT_EQ(decode_base64(text), bytes);
    EXPECT_EQ(decode_base64(text.substr(0, text.find('='))), bytes) << "without padding";
  }
}

TEST(Base64, EveryByteComesBack) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  EXPECT_EQ(decode_base64(encode_base64(bytes)), bytes);
}

TEST(Base64, OtherCharactersAreRefused) {
  for (const char* text : {"Zm9v!", "Zm 9v", "Zm=9v", "Zm9_", "Zm9-", "模"}) EXPECT_FALSE(decode_base64(text)) << text;
}

}  // namespace
}  // namespace tidemill
