"""Restaurant reviews: subjects, wording, facts."""

from fsa_jax.lab.lexicon import Domain, Subject

RESTAURANT = Domain(
    name='restaurant',
    when='last night, on friday, for lunch, for our anniversary, after work, with friends, today',
    foreign='valet, karaoke, buffet, hookah, gift card, drive through, food truck, catering',
    subjects=(
        Subject(
            'FOOD#QUALITY',
            names='Food Quality, Taste',
            implied='food',
            weight=10,
            senses='tasted, looked, smelled',
            terms='food~, pizza, pasta~, salad, soup, steak, burger, noodles*, salmon~, chicken~, rice~, '
            'bread~, sushi~, dessert, shrimp*, tacos*, curry~, cheesecake, fries*, dumplings*, lamb~, '
            'duck~, ribs*, sandwich, omelette, oysters*, risotto~, pancakes*',
            modifiers='grilled, fried, spicy, roasted, baked, steamed, house, garlic, lemon, smoked',
            words={
                -2: 'inedible, disgusting, revolting, rotten, vile',
                -1: 'bland, cold, dry, salty, soggy, greasy, burnt, overcooked, tasteless, stale, '
                'rubbery, chewy, mushy, watery',
                0: 'edible, plain, simple',
                1: 'tasty, fresh, tender, juicy, crispy, flavorful, hot, moist, creamy, hearty, '
                'fluffy, savory',
                2: 'delicious, divine, mouthwatering, heavenly, scrumptious, exquisite',
            },
            implicit={
                -2: """
                    the {t} made [my son/my wife/two of us] sick
                    i found [a hair/a fly/a piece of plastic] in the {t}
                    the {t} went straight [into the bin/to the dog]
                    even my dog would refuse the {t}
                    """,
                -1: """
                    i sent the {t} back to the kitchen
                    we left most of the {t} on the plate
                    i had to add salt to the {t}
                    i [make/have made] better {t} at home
                    the {t} came [straight from the freezer/out of a can/from a microwave]
                    i could not finish the {t}
                    the {t} needed another ten minutes in the oven
                    we were looking for the flavor in the {t}
                    """,
                0: """
                    we [ordered/shared/split] the {t}
                    the {t} came with [a side/a sauce]
                    i chose the {t} from the list
                    """,
                1: """
                    we ordered a second round of {t}
                    not a crumb of the {t} was left
                    i asked [the cook/them] for the recipe of the {t}
                    my kids [finished/ate up] all of the {t}
                    the {t} reminded me of my [grandmother/childhood]
                    i licked the plate after the {t}
                    """,
                2: """
                    i still dream about the {t}
                    i would cross the [country/ocean] for the {t}
                    you have not lived until you try the {t}
                    i could eat the {t} every day of my life
                    """,
            },
        ),
        Subject(
            'SERVICE#GENERAL',
            names='Service, Staff',
            implied='service',
            weight=7,
            senses='seemed, was always',
            terms='service~, staff~, waiter, waitress, server, hostess, manager, bartender, owner, '
            'waiters*, servers*, kitchen staff~, delivery guy, busboy',
            words={
                -2: 'hostile, insulting, outrageous',
                -1: 'slow, rude, careless, clueless, unfriendly, inattentive, pushy, impatient, '
                'arrogant, forgetful, grumpy, cold',
                0: 'neutral, formal, businesslike',
                1: 'friendly, attentive, polite, helpful, quick, prompt, courteous, professional, '
                'warm, patient, knowledgeable, welcoming',
                2: 'impeccable, exemplary, spotless',
            },
            implicit={
                -2: """
                    the <waiter/server/manager> [yelled at/swore at/laughed at] us
                    we walked out after [an hour/two hours] without seeing a menu
                    the <hostess/owner/waitress> threw the bill at [me/us]
                    """,
                -1: """
                    we waited [an hour/forty minutes/ages] for our [drinks/table/order]
                    nobody [came to our table/took our order/said hello] for [half an hour/ages]
                    the <waiter/waitress/server> [forgot/mixed up/lost] our order
                    we had to ask [twice/three times] for [water/the check/a fork]
                    the <waiter/hostess/bartender> never looked up from [her/his] phone
                    the <waitress/server> rolled her eyes at us
                    my order arrived when everyone else had finished
                    """,
                0: """
                    the <waiter/server/hostess> showed us to a table
                    the <waiter/waitress> took our order
                    """,
                1: """
                    the <waiter/server/owner> remembered our names
                    our order was on the table in [five/ten] minutes
                    the <waitress/manager/bartender> checked on us [twice/often]
                    the <owner/manager> came over to say hello
                    my glass was never empty
                    the <waiter/server> brought [crayons/a high chair] for our daughter
                    """,
                2: """
                    the <owner/waiter/staff> treated us like [family/royalty]
                    the <manager/owner> drove us home in the rain
                    they baked a cake for my mother without being asked
                    """,
            },
        ),
        Subject(
            'AMBIENCE#GENERAL',
            names='Ambience, Atmosphere',
            implied='atmosphere',
            weight=4,
            senses='felt, looked',
            terms='atmosphere, decor~, music~, room, patio, lighting~, ambience~, dining room, interior, '
            'tables*, chairs*, terrace, vibe, garden',
            words={
                -2: 'filthy, deafening, gloomy',
                -1: 'noisy, loud, cramped, dark, dated, dirty, crowded, tacky, sticky, shabby',
                0: 'modest, basic, plain',
                1: 'cozy, romantic, quiet, charming, clean, elegant, relaxing, inviting, stylish, '
                'bright, intimate',
                2: 'gorgeous, stunning, enchanting',
            },
            implicit={
                -2: """
                    a rat ran [under/past] our table
                    my ears were still ringing the next morning
                    """,
                -1: """
                    we had to shout across the <table/room>
                    my sleeves stuck to the <table/menu>
                    i kept my coat on all evening
                    the <music/tv> made talking impossible
                    my elbow was in my neighbor's plate
                    the <decor/furniture> belongs in a [garage/museum]
                    """,
                0: """
                    the <room/terrace> seats about [thirty/fifty] people
                    there are pictures on the <walls/wall>
                    """,
                1: """
                    we did not want to leave the <terrace/garden/room>
                    the <patio/garden> made us forget the city
                    i took [pictures/photos] of the <ceiling/walls/lamps>
                    you can hear each other talk
                    candles on every <table/shelf>
                    """,
                2: """
                    i proposed to my wife on the <terrace/patio>
                    walking in is like entering a palace
                    """,
            },
        ),
        Subject(
            'FOOD#PRICES',
            names='Price, Value',
            implied='price',
            weight=3,
            terms='prices*, bill, lunch special, wine prices*, set menu, happy hour, tasting menu',
            words={
                -2: 'outrageous, criminal, insane',
                -1: 'expensive, overpriced, high, steep, excessive, unfair, pricey',
                0: 'moderate, usual',
                1: 'cheap, reasonable, fair, affordable, low, modest',
                2: 'unbeatable, irresistible',
            },
            implicit={
                -2: """
                    i had to sell a kidney to pay the <bill/check>
                    it costs a month of rent
                    """,
                -1: """
                    they charge [ten/twenty] dollars for [water/bread/a salad]
                    my wallet [was empty afterwards/still hurts]
                    bring your credit card and a second one
                    you pay for the name
                    i paid double what it costs next door
                    """,
                0: """
                    we paid [forty/sixty] dollars for two
                    the <bill/check> was split four ways
                    """,
                1: """
                    we [ate/dined] for less than [ten/fifteen] dollars
                    four of us ate for the price of two
                    students can eat here every day
                    i still had money left for a movie
                    """,
                2: """
                    it is almost [free/a gift]
                    i thought the <bill/check> was missing a zero
                    """,
            },
        ),
        Subject(
            'FOOD#STYLE_OPTIONS',
            names='Portions, Menu Options',
            implied='menu',
            weight=3,
            terms='portions*, menu, selection, portion sizes*, vegan options*, wine list, choices*, '
            'servings*, brunch menu, presentation',
            words={
                -2: 'laughable, ridiculous',
                -1: 'small, tiny, limited, boring, skimpy, confusing, repetitive, meager',
                0: 'regular, normal',
                1: 'big, large, generous, varied, creative, huge, original, diverse, filling',
                2: 'endless, enormous, inspired',
            },
            implicit={
                -2: """
                    three peas and a leaf was all i got
                    we bought a burger on the way home
                    """,
                -1: """
                    we were still hungry afterwards
                    half of the <menu/list> was sold out
                    there was nothing for vegetarians
                    you need a magnifying glass to see the <portions/servings>
                    the <menu/selection> has not changed in years
                    """,
                0: """
                    the <menu/list> has [two/four] pages
                    the <menu> is on the wall
                    """,
                1: """
                    we took half of it home
                    even my [vegan/picky] friend had [plenty/a lot] to choose from
                    one plate feeds [two/three] people
                    there is something for everyone
                    the <menu> changes every week
                    """,
                2: """
                    i could come for a year and never eat the same thing
                    we needed [two bags/a truck] for the leftovers
                    """,
            },
        ),
        Subject(
            'DRINKS#QUALITY',
            names='Drinks, Beverages',
            implied='drinks',
            weight=3,
            senses='tasted, was served',
            terms='coffee~, wine~, beer~, cocktails*, tea~, margaritas*, drinks*, red wine~, sangria~, '
            'lemonade~, espresso~, martini, milkshake',
            modifiers='iced, house, draft, mint',
            words={
                -2: 'undrinkable, poisonous, foul',
                -1: 'warm, flat, weak, bitter, diluted, sour, watery, lukewarm, sugary',
                0: 'drinkable, plain',
                1: 'cold, strong, refreshing, smooth, rich, fruity, crisp, balanced',
                2: 'sublime, divine',
            },
            implicit={
                -2: """
                    i poured the {t} into a plant
                    one sip of the {t} was enough
                    """,
                -1: """
                    the {t} [was/were] mostly ice
                    i left the {t} after two sips
                    the {t} tasted like the glass was not rinsed
                    somebody forgot the alcohol in the {t}
                    """,
                0: """
                    i had the {t} with my meal
                    we ordered {t} for the table
                    """,
                1: """
                    we stayed for another round of {t}
                    i asked where they buy the {t}
                    even my friend who avoids it finished the {t}
                    """,
                2: """
                    i would bathe in the {t}
                    the {t} changed my life
                    """,
            },
        ),
        Subject(
            'LOCATION#GENERAL',
            names='Location',
            implied='location',
            weight=2,
            terms='location, view, parking~, neighborhood, parking lot, street, area, setting',
            words={
                -2: 'scary, hideous',
                -1: 'remote, inconvenient, ugly, unsafe, busy, sketchy, hidden',
                0: 'suburban, central enough',
                1: 'convenient, central, scenic, safe, handy, peaceful, accessible',
                2: 'breathtaking, spectacular',
            },
            implicit={
                -2: """
                    our car was broken into outside
                    """,
                -1: """
                    we drove around for [ages/half an hour] to find the <entrance/parking>
                    you need a [map/compass] to find it
                    the window faces a [wall/gas station/highway]
                    """,
                0: """
                    it is on the corner of the <street/square>
                    it is next to the <bank/station/library>
                    """,
                1: """
                    it is [two minutes/a short walk] from the subway
                    we watched the sunset over the <river/harbor>
                    you can walk there from the theater
                    """,
                2: """
                    the whole <city/valley> lies at your feet
                    """,
            },
        ),
        Subject(
            'RESTAURANT#GENERAL',
            names='Restaurant Overall, Experience',
            implied='place',
            weight=5,
            terms='place, restaurant, spot, experience, dinner, evening, diner, bistro, cafe, visit',
            words={
                -2: 'unforgivable, shameful',
                -1: 'overrated, forgettable, overhyped, stressful, frustrating',
                0: 'unchanged, different',
                1: 'special, memorable, reliable, authentic, fun, worthwhile, popular',
                2: 'unforgettable, legendary, magical, unbeatable',
            },
            implicit={
                -2: """
                    never again
                    i would rather [starve/eat grass] than go back
                    someone should call the health department
                    """,
                -1: """
                    we will not be back
                    i do not understand the hype
                    save your [money/time] and go elsewhere
                    there are better <places/spots> on this street
                    next time we will stay home
                    """,
                0: """
                    we heard of the <place/restaurant> from a friend
                    the <place/spot> opened [last year/in may]
                    """,
                1: """
                    we will [be back/come again]
                    i have already booked a table for [friday/next week]
                    i tell all my friends about this <place/spot>
                    we come here every [week/month]
                    a reason to move to this town
                    """,
                2: """
                    if i could give ten stars i would
                    i want to be buried in this <place/restaurant>
                    look no further
                    """,
            },
        ),
    ),
    facts="""
        we went there [last night/on friday/on sunday/in march]
        my [brother/boss/sister/neighbor] [told me about it/picked it]
        there were [four/six/two] of us
        we sat [at the bar/by the window/outside]
        we arrived at [six/seven/noon]
        i had been there [once/twice] before
        it was my [birthday/first time/day off]
        we were in town for [a wedding/a concert/the weekend]
        i live [nearby/around the corner/across the river]
        we paid by card and took a cab
        [my parents/two colleagues] joined us later
        so we walked in and sat down
        """,
)
