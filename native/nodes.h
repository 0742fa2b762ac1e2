#pragma once

// Whether the memory that the calling thread is the first to touch, and what it reads of files, is spread over all of the
// machine's nodes, page by page, from now on: what all threads read should not lie where one of them began. A policy that
// somebody else has given the process (numactl) stays. Returns whether the system does as told.
bool spread_over_nodes(bool spread);
