// A program that uses the generated Go client.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"

	"eventapi"

	"golang.org/x/oauth2"
)

func report[T any](call string, wanted int) func(T, *http.Response, error) T {
	return func(value T, response *http.Response, err error) T {
		if response == nil {
			fmt.Println(call, err)
			os.Exit(1)
		}
		if err != nil && wanted < 400 {
			fmt.Println(call, response.StatusCode, err)
			os.Exit(1)
		}
		fmt.Println(call, response.StatusCode)
		return value
	}
}

func reportEmpty(call string, response *http.Response, err error) {
	report[any](call, 204)(nil, response, err)
}

func check(condition bool, what string) {
	if !condition {
		fmt.Println(what)
		os.Exit(1)
	}
}

func main() {
	address, name := os.Args[1], os.Args[2]
	const password = "correct horse battery staple"
	configuration := eventapi.NewConfiguration()
	configuration.Servers = eventapi.ServerConfigurations{{URL: address}}
	client := eventapi.NewAPIClient(configuration)
	ctx := context.Background()

	account := *eventapi.NewRegistration(name, name+"@example.org", password)
	report[*eventapi.UserV2]("register", 201)(client.AuthAPI.Register(ctx).Registration(account).Execute())
	report[*eventapi.UserV2]("register", 409)(client.AuthAPI.Register(ctx).Registration(account).Execute())
	grant := *eventapi.NewPasswordGrant(name, password)
	tokens := report[*eventapi.TokenPair]("login", 200)(client.AuthAPI.Login(ctx).PasswordGrant(grant).Execute())
	source := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: tokens.AccessToken})
	ctx = context.WithValue(ctx, eventapi.ContextOAuth2, source)

	items := client.ItemsAPI
	item := report[*eventapi.ItemV2]("create_item", 201)(items.CreateItem(ctx).ItemBody(*eventapi.NewItemBody("a title")).Execute())
	report[*eventapi.ItemV2]("create_item", 422)(items.CreateItem(ctx).ItemBody(*eventapi.NewItemBody("")).Execute())
	read := report[*eventapi.ItemV2]("get_item", 200)(items.GetItem(ctx, item.Id).Execute())
	check(read.Title == "a title", "the item is another one")
	page := report[*eventapi.ItemPage]("list_items", 200)(items.ListItems(ctx).Limit(10).Execute())
	check(len(page.Items) == 1 && page.Next.Get() == nil, "the page is another one")
	patch := *eventapi.NewItemPatch()
	patch.SetDescription("text")
	changed := report[*eventapi.ItemV2]("update_item", 200)(items.UpdateItem(ctx, item.Id).ItemPatch(patch).Execute())
	check(*changed.Description.Get() == "text", "the item did not change")
	report[*eventapi.ItemV2]("replace_item", 200)(items.ReplaceItem(ctx, item.Id).ItemBody(*eventapi.NewItemBody("another")).IdempotencyKey("1").Execute())
	history := report[[]eventapi.ItemHistoryEntry]("get_item_history", 200)(items.GetItemHistory(ctx, item.Id).Execute())
	check(len(history) == 3, "the history is another one")
	response, err := items.DeleteItem(ctx, item.Id).Execute()
	reportEmpty("delete_item", response, err)
	report[*eventapi.ItemV2]("get_item", 404)(items.GetItem(ctx, item.Id).Execute())
	report[*eventapi.TokenPair]("refresh", 200)(client.AuthAPI.Refresh(ctx).RefreshGrant(*eventapi.NewRefreshGrant(tokens.RefreshToken)).Execute())
	report[*eventapi.UserV2]("get_me", 200)(client.AuthAPI.GetMe(ctx).Execute())
	response, err = client.AuthAPI.Logout(ctx).Execute()
	reportEmpty("logout", response, err)
	report[*eventapi.UserV2]("get_me", 401)(client.AuthAPI.GetMe(ctx).Execute())
}
