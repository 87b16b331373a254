// A vendor's routine for one problem, made ready outside of any timing: descriptors, scratch memory and preprocessing.
#pragma once

#include "common/status.h"

namespace warptile::peers {

class Plan {
 public:
  Plan() = default;
  Plan(const Plan&) = delete;
  Plan& operator=(const Plan&) = delete;
  virtual ~Plan() = default;
  // Enqueues the routine once, on the stream the plan was made for. May be captured into a graph.
  virtual Status run() = 0;
};

}  // namespace warptile::peers
