// Tests of the native code that needs neither CUDA nor Node. Exits with 1 where a check failed.

#include "check.h"

int main() {
  using namespace warptile::test;
  for (const Test& test : tests()) {
    const int failed = counts().failed;
    test.body();
    std::printf("%s %s\n", counts().failed == failed ? "ok    " : "FAILED", test.name);
  }
  std::printf("%d checks passed, %d failed, in %zu tests\n", counts().passed, counts().failed, tests().size());
  return counts().failed == 0 && counts().passed > 0 ? 0 : 1;
}
