// The neighbourhood of a query along one axis: the kernels' one definition (lib/backends/reference/neighborhood-window.ts
// words it), constexpr so that device code and a test on the host share it. Positions are coordinates within a residue
// class of the dilation.
#pragma once

#include <algorithm>

#include "api/neighborhood_axis.h"

namespace warptile {

// Keys begin <= j < end.
struct NeighborhoodWindow {
  int begin;
  int end;
};

// begin and end never decrease with `position`, and consecutive windows touch or overlap: the windows of consecutive
// queries cover one interval.
constexpr NeighborhoodWindow neighborhood_window(int position, int class_length, const NeighborhoodAxis& axis) {
  // Written so that nothing passes 2^31 for any class_length: the group's last positions may lie past the axis.
  const int group = position - position % axis.stride;
  const int last = class_length - 1 - group;
  if (axis.causal) {
    const int leader = group + std::min(axis.stride - 1, last);
    return {std::max(leader - axis.kernel + 1, 0), position + 1};
  }
  const int leader = group + std::min(axis.stride / 2, last);
  const int left = axis.kernel / 2;
  const int right = axis.kernel - 1 - left;
  const int begin = leader >= class_length - right ? class_length - axis.kernel : std::max(leader - left, 0);
  return {begin, begin + axis.kernel};
}

// Tokens of a residue class: residue, residue + dilation, ... below length.
constexpr int neighborhood_class_length(int residue, const NeighborhoodAxis& axis) {
  return (axis.length - 1 - residue) / axis.dilation + 1;
}

}  // namespace warptile
