/* The lists of names.h as arrays that end with NULL, for _kernels.pyx; the rules for _epoch.pyx too. */
#include <math.h>
#include <stddef.h>

#include "names.h"

typedef struct { const char *name; double lowest, highest; } output_t;
typedef struct { const char *name, *parameter; double usual, below; } loss_t;
typedef struct { const char *output, *loss; } pair_t;
typedef struct { const char *name; int settings, scalars, slots, asks; const char *slot_names[3]; } rule_t;

#define X(name, keeps) #name,
static const char *const activation_list[] = {ACTIVATIONS(X) NULL};
#undef X
#define X(name, lowest, highest) {#name, lowest, highest},
static const output_t output_list[] = {OUTPUTS(X) {NULL, 0, 0}};
#undef X
#define X(name, parameter, usual, below) {#name, parameter, usual, below},
static const loss_t loss_list[] = {LOSSES(X) {NULL, NULL, 0, 0}};
#undef X
#define X(name, settings, scalars, slots, asks, ...) {#name, settings, scalars, slots, asks, {__VA_ARGS__}},
static const rule_t rule_list[] = {RULES(X) {NULL, 0, 0, 0, 0, {NULL}}};
#undef X
#define X(output, loss) {#output, #loss},
static const pair_t pair_list[] = {PAIRS(X) {NULL, NULL}};
#undef X
