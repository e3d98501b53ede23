#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>

#include "kernels/counted/counts.h"

namespace fulmar::counted {

// The machine code of the file that this was loaded from, as binutils' objdump reads it: the names
// of its functions, and what each basic block computes.
class MachineCode {
 public:
  // Reads it when first asked for, which takes seconds. Without objdump, or on a machine that is no
  // x86-64, it knows no names and no arithmetic, and says why.
  static const MachineCode& own();

  // Empty where all is known.
  const std::string& missing() const { return missing_; }
  // The function that begins at this address, mangled; empty where none does.
  std::string symbol_at(uint64_t address) const;
  // Of the basic block that reports itself by a call which returns to this address.
  Operations operations_at(uint64_t address) const;

 private:
  MachineCode();

  uint64_t base_ = 0;  // where the file is loaded
  std::string missing_;
  std::unordered_map<uint64_t, std::string> symbols_;
  std::unordered_map<uint64_t, Operations> operations_;
};

}  // namespace fulmar::counted
