#include <cstdlib>
#include <vector>

#include "check.h"
#include "kernels/neighborhood_attention/window.h"

using namespace warptile;

namespace {

// Whether query i sees key j, from the definition: residue classes and groups are listed, windows searched for.
bool sees(int i, int j, const NeighborhoodAxis& axis) {
  if (i % axis.dilation != j % axis.dilation) return false;
  std::vector<int> tokens;  // of the residue class
  int query = 0, key = 0;
  for (int token = 0; token < axis.length; ++token) {
    if (token % axis.dilation != i % axis.dilation) continue;
    if (token == i) query = static_cast<int>(tokens.size());
    if (token == j) key = static_cast<int>(tokens.size());
    tokens.push_back(token);
  }
  const int count = static_cast<int>(tokens.size());
  std::vector<int> group;
  for (int position = 0; position < count; ++position) {
    if (position / axis.stride == query / axis.stride) group.push_back(position);
  }
  if (axis.causal) return key <= query && group.back() - key < axis.kernel;
  const size_t middle = static_cast<size_t>(axis.stride / 2);
  const int leader = middle < group.size() ? group[middle] : group.back();
  // Of the runs of `kernel` keys inside the class, the one nearest to the run around the leader.
  const int wanted = leader - axis.kernel / 2;
  int start = 0;
  for (int run = 0; run + axis.kernel <= count; ++run) {
    if (std::abs(run - wanted) < std::abs(start - wanted)) start = run;
  }
  return key >= start && key < start + axis.kernel;
}

}  // namespace

TEST(neighborhood_windows_equal_brute_force) {
  for (int length = 1; length <= 12; ++length) {
    for (int dilation = 1; dilation <= length; ++dilation) {
      for (int kernel = 1; kernel * dilation <= length; ++kernel) {
        for (int stride = 1; stride <= kernel; ++stride) {
          for (bool causal : {false, true}) {
            const NeighborhoodAxis axis{length, kernel, stride, dilation, causal};
            bool equal = true;
            for (int i = 0; i < length; ++i) {
              const int class_length = neighborhood_class_length(i % dilation, axis);
              const NeighborhoodWindow window = neighborhood_window(i / dilation, class_length, axis);
              for (int j = 0; j < length; ++j) {
                const bool inside =
                    j % dilation == i % dilation && j / dilation >= window.begin && j / dilation < window.end;
                equal &= inside == sees(i, j, axis);
              }
            }
            CHECK(equal);
          }
        }
      }
    }
  }
}

TEST(neighborhood_windows_of_the_longest_axis_stay_inside) {
  constexpr int kLongest = 2147483647;
  for (int kernel : {1, 2, kLongest / 2, kLongest}) {
    for (bool causal : {false, true}) {
      const NeighborhoodAxis axis{kLongest, kernel, kernel, 1, causal};
      for (int position : {0, 1, kLongest / 2, kLongest - 2, kLongest - 1}) {
        const NeighborhoodWindow window = neighborhood_window(position, kLongest, axis);
        CHECK(window.begin >= 0 && window.begin <= position);
        CHECK(window.end > position && window.end <= kLongest);
        CHECK(causal || window.end - window.begin == kernel);
      }
    }
  }
}
