#pragma once

#include <string>
#include <vector>

// What Linux tells in files of a line, and which of the processors that it tells of are this process's.
namespace sysfs {

std::string first_line(const std::string& path);  // empty where there is no such file
std::vector<int> numbers(const std::string& list);  // of "0-3,8"; none of what is no such list
std::vector<int> allowed_processors();

}  // namespace sysfs
