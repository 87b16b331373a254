// One token axis of neighbourhood attention.
#pragma once

namespace warptile {

// Problems of fewer axes have leading axes of one token (length, kernel, stride and dilation 1).
constexpr int kNeighborhoodAxes = 3;

// Requires 1 <= stride <= kernel and kernel * dilation <= length, unless length is 0.
struct NeighborhoodAxis {
  int length = 1;  // tokens
  int kernel = 1;
  int stride = 1;
  int dilation = 1;
  bool causal = false;
};

}  // namespace warptile
