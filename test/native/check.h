// The smallest test framework that prints what failed: checks count, and a failed one is reported and does not stop the test.
#pragma once

#include <cstdio>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "addon/addon_error.h"

namespace warptile::test {

struct Test {
  const char* name;
  void (*body)();
};

inline std::vector<Test>& tests() {
  static std::vector<Test> registered;
  return registered;
}

struct Counts {
  int passed = 0;
  int failed = 0;
};

inline Counts& counts() {
  static Counts counted;
  return counted;
}

struct Registration {
  Registration(const char* name, void (*body)()) { tests().push_back({name, body}); }
};

inline void check(bool holds, const char* expression, const char* file, int line) {
  ++(holds ? counts().passed : counts().failed);
  if (!holds) std::printf("  %s:%d: %s does not hold\n", file, line, expression);
}

// The message of the AddonError that `body` throws; a failed check where it throws none.
inline std::string error_of(const std::function<void()>& body, const char* file, int line) {
  try {
    body();
  } catch (const addon::AddonError& error) {
    return std::string(error.code()) + " " + error.what();
  }
  check(false, "an AddonError is thrown", file, line);
  return {};
}

}  // namespace warptile::test

#define TEST(name)                                                                       \
  static void test_##name();                                                             \
  static const ::warptile::test::Registration registration_##name(#name, &test_##name);  \
  static void test_##name()
#define CHECK(condition) ::warptile::test::check((condition), #condition, __FILE__, __LINE__)
#define CHECK_ERROR(expected, statement) \
  CHECK(::warptile::test::error_of([&] { statement; }, __FILE__, __LINE__) == (expected))
