#pragma once

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace fulmar::test {

// The fields of a file's lines, with tabs between.
inline std::vector<std::vector<std::string>> table_rows(const std::string& path) {
  std::vector<std::vector<std::string>> rows;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::vector<std::string> row;
    std::istringstream fields(line);
    for (std::string field; std::getline(fields, field, '\t');) row.push_back(field);
    rows.push_back(row);
  }
  return rows;
}

}  // namespace fulmar::test
