/* Allocations that fail on demand.
 *
 * The linker puts these functions in place of those that reap's own objects (and the generated ONNX messages) call to
 * get memory, or something that takes memory; cJSON and protobuf-c get theirs from reap. A program that wants them is
 * linked with reap_faults. Calls are counted in this process, from faults_arm() on.
 */
#ifndef TESTS_FAULTS_H
#define TESTS_FAULTS_H

#include <stdbool.h>
#include <stdint.h>

/* Counts from one on again; the k-th call fails as if there were no memory (0: none). */
void faults_arm(int64_t k);

/* Lets every call pass, and returns how many were counted since faults_arm(). */
int64_t faults_disarm(void);

/* Whether a call has failed since faults_arm(). */
bool faults_fired(void);

/* Writes where that call was made, if there was one: with -rdynamic by name, else for addr2line. */
void faults_show(int descriptor);

#endif
