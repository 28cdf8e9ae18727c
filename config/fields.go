package config

import (
	"reflect"
	"strings"
	"sync"
)

// field is one field of the structs of the configuration, named by its yaml
// tag.
type field struct {
	name    string
	options string // of the config tag: path, env, lists, or nothing
	enum    string // of the enum tag: the values that the field accepts, with commas; empty: any
	owner   string // the struct that declares it, such as campaigns.LineSpec
	index   []int
}

type fieldList struct {
	names []string // in the order of the struct; include first if it is allowed
	list  []field
}

func (f *fieldList) find(name string) (field, bool) {
	for i := range f.list {
		if f.list[i].name == name {
			return f.list[i], true
		}
	}
	return field{}, false
}

var fieldCache sync.Map // reflect.Type -> *fieldList

// fieldsOf returns the fields of a struct of the configuration.
func fieldsOf(t reflect.Type) *fieldList {
	if f, ok := fieldCache.Load(t); ok {
		return f.(*fieldList)
	}
	f := &fieldList{}
	if t == fileType || t == profileType {
		f.names = append(f.names, "include")
	}
	f.collect(t, nil)
	fieldCache.Store(t, f)
	return f
}

func (f *fieldList) collect(t reflect.Type, index []int) {
	for i := range t.NumField() {
		sf := t.Field(i)
		name, options, _ := strings.Cut(sf.Tag.Get("yaml"), ",")
		at := append(index[:len(index):len(index)], i)
		if strings.Contains(options, "inline") || sf.Anonymous && name == "" && sf.Type.Kind() == reflect.Struct {
			f.collect(sf.Type, at)
			continue
		}
		if name == "" || name == "-" || !sf.IsExported() {
			continue
		}
		f.names = append(f.names, name)
		owner, _, _ := strings.Cut(t.String(), "[") // without type arguments
		f.list = append(f.list, field{name, sf.Tag.Get("config"), sf.Tag.Get("enum"), owner, at})
	}
}
