#include "kernels/version.h"

#include <doctest/doctest.h>

#include <cstdio>
#include <string>

TEST_CASE("version is three numbers and the commit is known") {
  int major = -1, minor = -1, patch = -1;
  CHECK(std::sscanf(fulmar::version(), "%d.%d.%d", &major, &minor, &patch) == 3);
  CHECK(major >= 0);
  CHECK(!std::string(fulmar::commit()).empty());
}
