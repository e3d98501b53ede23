#include "tests/support/paths.h"

#include <cstdlib>
#include <filesystem>

namespace fulmar::test {

std::string golden(const std::string& name) { return FULMAR_SOURCE_DIR "/tests/goldens/" + name; }

std::optional<std::string> test_data(const std::string& name) {
  const char* given = std::getenv("FULMAR_TEST_DATA");
  const std::string path =
      (given ? std::string(given) : FULMAR_SOURCE_DIR "/../shared/data") + "/" + name;
  if (!std::filesystem::exists(path)) return std::nullopt;
  return path;
}

}  // namespace fulmar::test
