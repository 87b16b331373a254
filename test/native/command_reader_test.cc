#include "addon/command_reader.h"

#include <cmath>
#include <limits>
#include <vector>

#include "check.h"

using namespace warptile;
using warptile::addon::AddonError;
using warptile::addon::CommandReader;

namespace {

// One buffer, number 5, of 64 bytes; remembers what was asked of it.
class OneBuffer final : public addon::BufferTable {
 public:
  void* resolve(double id, int64_t offset, int64_t bytes, const char* name) override {
    asked_bytes = bytes;
    if (id != 5) throw AddonError("ERR_DISPOSED", name);
    if (offset > 64 || bytes > 64 - offset) throw AddonError("ERR_ARGUMENT", name);
    return memory + offset;
  }

  int64_t asked_bytes = -1;
  char memory[64] = {};
};

// A reader over `words`, kept together with them.
struct Command {
  explicit Command(std::vector<double> list) : words(std::move(list)), in(buffers, words.data(), words.size()) {}
  OneBuffer buffers;
  std::vector<double> words;
  CommandReader in;
};

}  // namespace

TEST(integers_are_integers) {
  Command command({0, 9007199254740991.0, -3, 1, 0});
  CHECK(command.in.size("a") == 0);
  CHECK(command.in.size("b") == 9007199254740991);
  CHECK(command.in.integer("c") == -3);
  CHECK(command.in.flag("d"));
  CHECK(!command.in.flag("e"));
  command.in.finish();

  for (double value : {0.5, 9007199254740992.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    CHECK_ERROR("ERR_ARGUMENT command: m is not an integer", Command({value}).in.size("m"));
  }
  CHECK_ERROR("ERR_ARGUMENT command: m is negative", Command({-1}).in.size("m"));
}

TEST(small_sizes_fit_an_int) {
  CHECK(Command({2147483647}).in.small_size("m") == 2147483647);
  CHECK_ERROR("ERR_ARGUMENT command: m is past 2^31 - 1", Command({2147483648.0}).in.small_size("m"));
}

TEST(numbers_pass_as_they_are) {
  Command command({0.1, std::nan(""), -std::numeric_limits<double>::infinity()});
  CHECK(command.in.number("a") == 0.1);
  CHECK(std::isnan(command.in.number("b")));
  CHECK(std::isinf(command.in.number("c")));
}

TEST(every_word_is_read_and_no_more) {
  Command command({1, 2});
  command.in.size("a");
  CHECK_ERROR("ERR_ARGUMENT command: more words than the operation reads", command.in.finish());
  command.in.size("b");
  command.in.finish();
  CHECK_ERROR("ERR_ARGUMENT command: c is missing", command.in.size("c"));
  CHECK_ERROR("ERR_ARGUMENT command: x is missing", Command({5}).in.input("x", 4, {1}));
}

TEST(dtypes_are_codes) {
  CHECK(Command({0}).in.dtype("t") == DType::kFloat32);
  CHECK(Command({5}).in.dtype("t") == DType::kUInt8);
  CHECK(Command({2}).in.float_dtype("t") == DType::kBFloat16);
  CHECK_ERROR("ERR_ARGUMENT command: t is not a dtype", Command({6}).in.dtype("t"));
  CHECK_ERROR("ERR_ARGUMENT command: t is not a dtype", Command({-1}).in.dtype("t"));
  CHECK_ERROR("ERR_ARGUMENT command: t is not a float dtype", Command({3}).in.float_dtype("t"));
}

TEST(buffers_hold_what_the_sizes_say) {
  Command command({5, 16});
  CHECK(command.in.input("x", 4, {3, 4}) == command.buffers.memory + 16);
  CHECK(command.buffers.asked_bytes == 48);
  Command empty({5, 64});
  CHECK(empty.in.output("y", 2, {0, 1 << 30}) == empty.buffers.memory + 64);
  CHECK(empty.buffers.asked_bytes == 0);
  CHECK_ERROR("ERR_ARGUMENT x", Command({5, 16}).in.input("x", 4, {13}));
  CHECK_ERROR("ERR_DISPOSED x", Command({4, 0}).in.input("x", 4, {1}));
}

TEST(buffer_sizes_do_not_wrap_around) {
  const int64_t large = int64_t{1} << 31;
  const char* expected = "ERR_ARGUMENT command: x has more bytes than 64 bits count";
  CHECK_ERROR(expected, Command({5, 0}).in.input("x", 4, {large, large, 4}));
  // 2^62 elements fit, four bytes each do not.
  CHECK_ERROR(expected, Command({5, 0}).in.input("x", 4, {large, large}));
  CHECK_ERROR(expected, Command({5, 0}).in.int32_input("x", {-1}));
}

TEST(buffers_are_aligned) {
  CHECK_ERROR("ERR_ARGUMENT command: x is misaligned", Command({5, 2}).in.int32_input("x", {1}));
  Command halves({5, 2});
  CHECK(halves.in.input("x", 2, {1}) == halves.buffers.memory + 2);
  CHECK_ERROR("ERR_ARGUMENT command: x is negative", Command({5, -4}).in.int32_input("x", {1}));
}

TEST(only_optional_buffers_may_be_absent) {
  CHECK(Command({0, 0}).in.optional_input("x", 4, {8}) == nullptr);
  CHECK(Command({0, 0}).in.optional_int32_input("x", {8}) == nullptr);
  CHECK(Command({0, 0}).in.optional_output("x", 4, {8}) == nullptr);
  Command present({5, 0});
  CHECK(present.in.optional_output("x", 4, {8}) == present.buffers.memory);
  CHECK_ERROR("ERR_DISPOSED x", Command({0, 0}).in.input("x", 4, {8}));
  CHECK_ERROR("ERR_DISPOSED y", Command({0, 0}).in.output("y", 4, {8}));
}
