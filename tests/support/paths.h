#pragma once

#include <optional>
#include <string>

namespace fulmar::test {

// tests/goldens/`name` in the source tree.
std::string golden(const std::string& name);

// `name` in the folder of test data ($FULMAR_TEST_DATA, else ../shared/data beside the source
// tree); nothing where it is absent.
std::optional<std::string> test_data(const std::string& name);

}  // namespace fulmar::test
