#pragma once

#include <cstdint>

// What fulmar-hdf5, the child that reads a Keras file, writes to the program: messages, one after
// another, each a kind, then its fields. Numbers are little-endian as the machine's, a text is its
// length (u32) and its bytes.
namespace fulmar::keras {

enum class Message : uint8_t {
  text_attribute = 'A',  // path of the object, name, count (u32), as many texts
  array = 'D',           // path, rank (u8), extents (i64 each), elements (f32, row-major)
  text_file = 'F',       // name and contents of a file of an archive
  error = 'E',           // what is wrong with the file; the last message
  end = 'Z'              // the last message
};

// What the child refuses to read more of, and the program to keep.
constexpr int64_t max_rank = 8;
constexpr uint64_t max_array_bytes = uint64_t{1} << 32;     // of all arrays together, as f32
constexpr uint64_t max_text_bytes = uint64_t{1} << 26;      // of all texts together
constexpr uint64_t max_expanded_bytes = uint64_t{1} << 32;  // of an archive's file
constexpr int64_t max_objects = 1 << 17, max_depth = 64;

}  // namespace fulmar::keras
