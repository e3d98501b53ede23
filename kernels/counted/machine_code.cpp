#include "kernels/counted/machine_code.h"

#include <link.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string_view>
#include <vector>

#include "kernels/counted/instruction.h"

namespace fulmar::counted {
namespace {

constexpr std::string_view basic_block_hook = "<__sanitizer_cov_trace_pc";

struct Instruction {
  uint64_t address, target = 0;  // where it jumps to, if anywhere
  Operations operations;
  bool reports = false;       // calls the hook of a basic block
  bool falls_through = true;  // what stands behind it may run next
};

// The file that holds this function, and where.
struct OwnFile {
  std::string path;
  uint64_t base = 0;
};

int look_at(dl_phdr_info* info, size_t, void* erased) {
  const OwnFile file{info->dlpi_name, info->dlpi_addr};
  const auto here = reinterpret_cast<uint64_t>(&look_at);
  bool own = false;
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const auto& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD) continue;
    const uint64_t begin = file.base + segment.p_vaddr, end = begin + segment.p_memsz;
    own |= here >= begin && here < end;
  }
  if (own) *static_cast<OwnFile*>(erased) = file;
  return own;
}

OwnFile own_file() {
  OwnFile file;
  dl_iterate_phdr(look_at, &file);
  std::error_code error;  // the program itself has no name there
  if (file.path.empty())
    file.path = std::filesystem::read_symlink("/proc/self/exe", error).string();
  return file;
}

std::string quoted(const std::string& path) {
  std::string text = "'";
  for (const char c : path) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

uint64_t hexadecimal(std::string_view text) {
  uint64_t value = 0;
  const size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return 0;
  std::from_chars(text.data() + first, text.data() + text.size(), value, 16);
  return value;
}

// "    1bc:\tcall   1c1 <name>"; false where the line is none of these.
bool parse(std::string_view line, Instruction& instruction) {
  const size_t colon = line.find(":\t");
  if (colon == std::string_view::npos || line[0] != ' ') return false;
  instruction = {};
  instruction.address = hexadecimal(line.substr(0, colon));
  line.remove_prefix(colon + 2);
  line = line.substr(0, line.find('#'));
  while (!line.empty() && (line.back() == ' ' || line.back() == '\n')) line.remove_suffix(1);
  const size_t space = line.find(' ');
  const std::string_view name = line.substr(0, space);
  std::string_view operands = space == std::string_view::npos ? "" : line.substr(space);
  operands.remove_prefix(std::min(operands.find_first_not_of(' '), operands.size()));
  instruction.operations = operations_of(name, operands);
  instruction.reports =
      name.starts_with("call") && operands.find(basic_block_hook) != std::string_view::npos;
  if (name.starts_with("j") && operands.find('<') != std::string_view::npos)
    instruction.target = hexadecimal(operands);
  instruction.falls_through =
      !name.starts_with("jmp") && !name.starts_with("ret") && name != "hlt" && name != "ud2";
  return true;
}

// Gives each instruction to the basic block whose report comes before it on the way.
class Owners {
 public:
  explicit Owners(const std::vector<Instruction>& code) : code_(code), owned_(code.size()) {}

  Operations of(size_t report) {
    Operations sum;
    std::vector<size_t> open{report + 1};
    while (!open.empty()) {
      size_t at = open.back();
      open.pop_back();
      for (; at < code_.size() && !owned_[at]; at++) {
        const Instruction& i = code_[at];
        owned_[at] = true;
        sum.add(i.operations, 1);
        if (i.reports) break;
        if (i.target != 0)
          if (const size_t target = find(i.target); target < code_.size()) open.push_back(target);
        if (!i.falls_through) break;
      }
    }
    return sum;
  }

 private:
  size_t find(uint64_t address) const {
    const auto at =
        std::lower_bound(code_.begin(), code_.end(), address,
                         [](const Instruction& i, uint64_t wanted) { return i.address < wanted; });
    return at != code_.end() && at->address == address ? static_cast<size_t>(at - code_.begin())
                                                       : code_.size();
  }

  const std::vector<Instruction>& code_;
  std::vector<bool> owned_;
};

}  // namespace

const MachineCode& MachineCode::own() {
  static const MachineCode read;
  return read;
}

MachineCode::MachineCode() {
  const OwnFile file = own_file();
  base_ = file.base;
#ifndef __x86_64__
  missing_ = "arithmetic is counted on x86-64 only";
  return;
#endif
  const std::string command =
      "LC_ALL=C objdump -d -w --no-show-raw-insn " + quoted(file.path) + " 2>/dev/null";
  const std::unique_ptr<FILE, int (*)(FILE*)> output(popen(command.c_str(), "r"), pclose);
  std::vector<Instruction> code;
  char* text = nullptr;
  size_t room = 0;
  while (output && getline(&text, &room, output.get()) > 0) {
    const std::string_view line = text;
    Instruction instruction;
    if (parse(line, instruction)) {
      code.push_back(instruction);
    } else if (const size_t open = line.find(" <"), close = line.rfind(">:");
               open != std::string_view::npos && close != std::string_view::npos) {
      symbols_[hexadecimal(line)] = line.substr(open + 2, close - open - 2);
    }
  }
  std::free(text);
  if (code.empty())
    missing_ = "no arithmetic: 'objdump' of the package binutils gave nothing for " + file.path;
  std::sort(code.begin(), code.end(),
            [](const Instruction& a, const Instruction& b) { return a.address < b.address; });
  Owners owners(code);
  for (size_t i = 0; i + 1 < code.size(); i++)
    if (code[i].reports) operations_[code[i + 1].address] = owners.of(i);
  if (missing_.empty() && operations_.empty())
    missing_ = "no arithmetic: 'objdump' shows no calls of the hooks in " + file.path +
               " (is it stripped?)";
}

std::string MachineCode::symbol_at(uint64_t address) const {
  const auto found = symbols_.find(address - base_);
  return found == symbols_.end() ? "" : found->second;
}

Operations MachineCode::operations_at(uint64_t address) const {
  const auto found = operations_.find(address - base_);
  return found == operations_.end() ? Operations{} : found->second;
}

}  // namespace fulmar::counted
