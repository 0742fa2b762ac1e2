#pragma once

#include <cstdint>
#include <string>

// Machines with several nodes of memory, each nearer to some of the processors. Every node owns as many rows of a matrix,
// one stretch after the other, and its threads multiply those first.
namespace nodes {

// Those with processors that this process may use; 1 where Linux does not tell.
int count();
// Looks anew where Linux tells of them, in this folder of sysfs: before threads are at work. Returns how many there are.
int find(const std::string& folder);

inline int owner(int64_t row, int64_t rows) { return static_cast<int>(row * count() / rows); }

int here();              // where the calling thread runs
void keep_to(int node);  // the calling thread runs there from now on

// Brings the pages of a matrix to those who own most of them. A matrix of which a node would own less than a large page
// stays where it is, and so does all where somebody else has given the process a policy (numactl).
void place(const uint8_t* matrix, int64_t bytes);

// Whether the memory that the calling thread is the first to touch, and what it reads of files, is spread over all nodes,
// page by page, from now on: what all threads read should not lie where one of them began. Somebody else's policy stays.
// Returns whether the system does as told.
bool spread(bool on);

}  // namespace nodes
