#include "base/text.h"

#include <gtest/gtest.h>

namespace tidemill {
namespace {

TEST(PrintableUtf8, KeepsWhatIsFine) {
  EXPECT_EQ(printable_utf8("plain", 100), "plain");
  EXPECT_EQ(printable_utf8("潮汐磨坊 → é 😀", 100), "潮汐磨坊 → é 😀");
  EXPECT_EQ(printable_utf8("", 10), "");
}

TEST(PrintableUtf8, ReplacesWhatIsNotUtf8) {
  EXPECT_EQ(printable_utf8("a\xFFz", 100), "a\xEF\xBF\xBDz");
  EXPECT_EQ(printable_utf8("\xC0\xAF", 100), "\xEF\xBF\xBD\xEF\xBF\xBD") << "overlong";
  EXPECT_EQ(printable_utf8("\xED\xA0\x80", 100).substr(0, 3), "\xEF\xBF\xBD") << "surrogate";
  EXPECT_EQ(printable_utf8("\xE2\x82", 100).substr(0, 3), "\xEF\xBF\xBD") << "cut off";
  EXPECT_EQ(printable_utf8(std::string("a\0b\x1B[31m\n", 9), 100), "a b [31m ");
}

TEST(PrintableUtf8, CutsBetweenCharacters) {
  EXPECT_EQ(printable_utf8("abcdef", 6), "abcdef");
  EXPECT_EQ(printable_utf8("abcdefg", 6), "abc…");
  EXPECT_EQ(printable_utf8("磨磨磨", 8), "磨…");
  EXPECT_EQ(printable_utf8("磨", 2), "");
}

TEST(WithoutFolders, KeepsTheLastPartOfAPath) {
  EXPECT_EQ(without_folders("Could not write '/srv/d 1/a.upload': No space."),
            "Could not write 'd 1/a.upload': No space.");
  EXPECT_EQ(without_folders("File '/srv/data/uploads/a.csv' is short"), "File 'a.csv' is short");
  EXPECT_EQ(without_folders("/onnxruntime_src/core/bfc_arena.cc:360 void f() failed"),
            "bfc_arena.cc:360 void f() failed");
  EXPECT_EQ(without_folders("Look into /var/lib/tidemill."), "Look into tidemill.");
  EXPECT_EQ(without_folders("/模型/潮汐.onnx"), "潮汐.onnx");
}

TEST(WithoutFolders, LeavesTheRestAlone) {
  for (const char* words : {"", "/", "a/b", "1/2 of 3", "http://host/a/b", "s3://bucket/key", "GET 'x' / 'y'"}) {
    EXPECT_EQ(without_folders(words), words);
  }
}

}  // namespace
}  // namespace tidemill
