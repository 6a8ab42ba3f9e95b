/* Just enough JSON to read a request: one flat object of strings, numbers, booleans and lists of whole numbers. */
#ifndef MLOPT_JSON_H
#define MLOPT_JSON_H

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *json_space(const char *at)
{
    while (isspace((unsigned char)*at))
        at++;
    return at;
}

/* Past the string that starts at `at`, or NULL where it does not end. */
static const char *json_past_string(const char *at)
{
    if (*at++ != '"')
        return NULL;
    for (; *at != '"'; at++) {
        if (*at == '\\')
            at++;
        if (*at == '\0')
            return NULL;
    }
    return at + 1;
}

static const char *json_past_value(const char *at)
{
    int depth = 0;
    do {
        if (*at == '"') {
            at = json_past_string(at);
            if (at == NULL)
                return NULL;
        } else {
            depth += (*at == '[' || *at == '{') - (*at == ']' || *at == '}');
            at++;
        }
        if (*at == '\0')
            return NULL;
    } while (depth > 0 || !strchr(",}", *at));
    return at;
}

/* Where the value of `key` starts, or NULL where the object has no such key or is no object. */
static const char *json_find(const char *object, const char *key)
{
    const char *at = json_space(object);
    if (*at != '{')
        return NULL;
    do {
        const char *name = json_space(at + 1), *end = json_past_string(name);
        if (end == NULL || *json_space(end) != ':')
            return NULL;
        at = json_space(json_space(end) + 1);
        if ((size_t)(end - name) == strlen(key) + 2 && strncmp(name + 1, key, strlen(key)) == 0)
            return at;
        at = json_past_value(at);
    } while (at != NULL && *at == ',');
    return NULL;
}

static double json_number(const char *object, const char *key, double otherwise)
{
    const char *at = json_find(object, key);
    char *end = NULL;
    double value = at ? strtod(at, &end) : otherwise;
    return at && end == at ? otherwise : value;
}

static int json_true(const char *object, const char *key)
{
    const char *at = json_find(object, key);
    return at && strncmp(at, "true", 4) == 0;
}

/* 0 when `key` is no string, does not fit, or holds an escape other than of a quote, a slash or a backslash. */
static int json_string(const char *object, const char *key, char *into, size_t room)
{
    const char *at = json_find(object, key);
    size_t length = 0;
    if (at == NULL || *at != '"' || json_past_string(at) == NULL)
        return 0;
    for (at++; *at != '"'; at++) {
        if (*at == '\\' && !strchr("\"\\/", *++at))
            return 0;
        if (length + 1 >= room)
            return 0;
        into[length++] = *at;
    }
    into[length] = '\0';
    return 1;
}

static void json_write_string(FILE *file, const char *text)
{
    fputc('"', file);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', file);
        fputc((unsigned char)*text < ' ' ? ' ' : *text, file);
    }
    fputc('"', file);
}

#endif
