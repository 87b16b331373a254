#include "addon/sparse_pattern.h"

#include <utility>
#include <vector>

#include "check.h"

using namespace warptile;
using warptile::addon::AddonError;
using warptile::addon::CommandReader;
using warptile::addon::read_pattern;
using warptile::addon::strided_extent;

namespace {

// One buffer, number 5, of any size; remembers the bytes asked for.
class Buffers final : public addon::BufferTable {
 public:
  void* resolve(double, int64_t, int64_t bytes, const char*) override {
    asked.push_back(bytes);
    return &asked;
  }

  std::vector<int64_t> asked;
};

struct Command {
  explicit Command(std::vector<double> list) : words(std::move(list)), in(buffers, words.data(), words.size()) {}
  Buffers buffers;
  std::vector<double> words;
  CommandReader in;
};

SparsePattern read(std::vector<double> words) {
  Command command(std::move(words));
  return read_pattern(command.in);
}

}  // namespace

TEST(patterns_ask_for_their_indices) {
  // 10 x 9 in blocks of 4 x 3, 5 of them: 3 rows of blocks.
  Command command({10, 9, 4, 3, 5, 2, 5, 0, 5, 0});
  const SparsePattern pattern = read_pattern(command.in);
  command.in.finish();
  CHECK(pattern.rows == 10 && pattern.columns == 9 && pattern.block_rows == 4 && pattern.block_columns == 3);
  CHECK(pattern.stored == 5 && pattern.longest_row == 2 && !pattern.is_csr());
  CHECK((command.buffers.asked == std::vector<int64_t>{4 * 4, 5 * 4}));
  CHECK((read({0, 0, 1, 1, 0, 0, 5, 0, 5, 0}).is_csr()));
}

TEST(patterns_have_blocks_of_1_to_64) {
  for (double extent : {0.0, 65.0}) {
    CHECK_ERROR("ERR_ARGUMENT command: block shape is not from 1 to 64",
                read({8, 8, extent, 4, 1, 1, 5, 0, 5, 0}));
    CHECK_ERROR("ERR_ARGUMENT command: block shape is not from 1 to 64",
                read({8, 8, 4, extent, 1, 1, 5, 0, 5, 0}));
  }
  CHECK_ERROR("ERR_ARGUMENT command: rows is past 2^31 - 1",
              read({2147483648.0, 8, 4, 4, 1, 1, 5, 0, 5, 0}));
}

TEST(extents_reach_from_the_first_to_past_the_last_element) {
  CHECK(strided_extent("b", 1, 0, 3, 8, 8) == 24);
  CHECK(strided_extent("b", 1, 0, 3, 10, 8) == 28);   // the last row ends before its stride
  CHECK(strided_extent("b", 4, 100, 3, 10, 8) == 328);
  CHECK(strided_extent("b", 4, 0, 3, 8, 8) == 24);    // shared by the batch
  for (int64_t zero : {0, 1, 2}) {
    CHECK(strided_extent("b", zero == 0 ? 0 : 4, 100, zero == 1 ? 0 : 3, 10, zero == 2 ? 0 : 8) == 0);
  }
  const int64_t huge = int64_t{1} << 53;
  CHECK_ERROR("ERR_ARGUMENT command: b spans more elements than 64 bits count",
              strided_extent("b", huge, huge, 3, 10, 8));
  CHECK_ERROR("ERR_ARGUMENT command: b spans more elements than 64 bits count",
              strided_extent("b", 1025, huge - 1, 513, huge, huge));
}
