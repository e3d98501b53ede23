#pragma once

#include <cstdint>
#include <string>
#include <string_view>

// Text for people and for files; numbers look the same in every locale.
namespace fulmar::tools {

// A number that a float32 holds, as the shortest decimal that names that float: 0.1, not
// 0.10000000149011612. Others stay as they are.
double shortest(double value);
// The same as text: "nan", "inf" and "-inf" too.
std::string number_text(double value);

// For people.
std::string score_cell(double value);           // "0.9435"; "-" where it is undefined
std::string with_separators(int64_t n);         // 1,260,322
std::string fixed(double value, int decimals);  // "0.9430"; "nan", "inf"
std::string rounded(double value, int digits);  // significant ones: "22.35", "1e+20"
std::string readable_bytes(uint64_t bytes);     // "1.26 GB": powers of 1000, three digits
std::string readable_count(double n);           // "1.88 G"
std::string readable_seconds(double seconds);   // "0:43", "12:07", "3:12:07"
// "1 scene", "1,234 scenes".
std::string counted(int64_t count, const std::string& one, const std::string& many);

// Columns that a UTF-8 text takes on a terminal, one for each character.
int display_width(std::string_view text);

}  // namespace fulmar::tools
