#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "kernels/view.h"

namespace fulmar::data {

// NetCDF-4 files, read and written by a process of fulmar-netcdf for each thread that asks at once.
// All throw Error(file) that begins with the path: a file that is none or damaged, a variable or a
// part that is not there, a process that ended or said nothing for two minutes.

// What a file holds: the extents of its variables, and its own attributes that are text.
struct NetcdfFile {
  std::map<std::string, std::vector<int64_t>> variables;
  std::map<std::string, std::string> attributes;

  bool has(const std::string& variable) const { return variables.count(variable) > 0; }
};
NetcdfFile describe_netcdf(const std::string& path);

// A part of a variable, as u8, f32 or f64. Only the chunks that it touches are read.
struct NetcdfPart {
  std::string variable;
  std::vector<int64_t> start, count;
  DType type = DType::f32;
};
// The parts' numbers, one behind the other, rows after rows.
std::vector<uint8_t> read_netcdf(const std::string& path, const std::vector<NetcdfPart>& parts);

struct NetcdfArray {
  std::string name;
  std::vector<std::string> dimensions;
  DType type = DType::f32;
  std::vector<uint8_t> data;
  std::vector<int64_t> chunks{};  // compressed in these; empty: neither
  std::map<std::string, std::string> texts{};
  std::map<std::string, double> numbers{};
};
// Written beside and renamed: never half of a file.
void write_netcdf(const std::string& path,
                  const std::vector<std::pair<std::string, int64_t>>& dimensions,
                  const std::map<std::string, std::string>& attributes,
                  const std::vector<NetcdfArray>& arrays);

}  // namespace fulmar::data
